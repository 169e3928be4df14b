grant select, insert, update, delete on followed_set, counted_set, set_total to projector

grant select on followed_set, counted_set, set_total to operator

grant select on counted_set, set_total to gateway

alter table counted_set enable row level security

alter table counted_set force row level security

alter table set_total enable row level security

alter table set_total force row level security

create policy owned on counted_set to current_user using (true)

create policy written on counted_set to projector using (true)

create policy operated on counted_set for select to operator using (true)

create policy owned on set_total to current_user using (true)

create policy written on set_total to projector using (true)

create policy operated on set_total for select to operator using (true)

create policy named on counted_set for select to gateway using (
  channel in (select 'prefix:' || left(prefix, -1)
                from unnest(string_to_array(current_setting('livebalance.prefixes', true), ',')) as p (prefix)
               union all
              select 'client:' || client
                from unnest(string_to_array(current_setting('livebalance.clients', true), ',')) as c (client)))

create policy named on set_total for select to gateway using (
  channel in (select 'prefix:' || left(prefix, -1)
                from unnest(string_to_array(current_setting('livebalance.prefixes', true), ',')) as p (prefix)
               union all
              select 'client:' || client
                from unnest(string_to_array(current_setting('livebalance.clients', true), ',')) as c (client)))

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
