grant select, insert, update, delete on followed_set, counted_set, set_total to projector

grant select on followed_set, counted_set, set_total to operator

grant select on counted_set, set_total to gateway

create function follow_sets(channels text[]) returns void
language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('livebalance.follow_sets'));  -- or two gateways pass the limit together
  update followed_set set followed_until = clock_timestamp() + interval '30 seconds'
   where channel = any (channels);
  insert into followed_set (channel, followed_until)
  select channel, clock_timestamp() + interval '30 seconds' from unnest(channels) as c (channel)
   where not exists (select from followed_set f where f.channel = c.channel)
   limit greatest(0, 1000 - (select count(*) from followed_set));
end $$

comment on function follow_sets is 'Names sets whose totals the projectors keep, for half a minute; at most 1,000 sets altogether'

revoke execute on function follow_sets from public

grant execute on function follow_sets to gateway
