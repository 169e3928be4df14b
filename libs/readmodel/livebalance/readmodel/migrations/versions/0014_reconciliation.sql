-- Statements are separated by an empty line; migration 0014 runs them in turn.
create or replace view reporting.kafka_reconciliation as
select lane, hour, sum(kafka_records)::bigint as kafka_records, sum(kafka_sum) as kafka_sum,
       sum(sql_rows)::bigint as sql_rows, sum(sql_sum) as sql_sum, sum(quarantined)::bigint as quarantined,
       sum(duplicates)::bigint as duplicates, sum(erased)::bigint as erased, sum(missing)::bigint as missing,
       sum(different)::bigint as different, sum(extra)::bigint as extra, sum(restored)::bigint as restored,
       min(checked_at) as checked_at
  from public.reconciliation group by lane, hour;

create or replace view reporting.kafka_reconciliation_lanes as
select lane, start_offset, compared_next, compared_at, round_began_at, round_ended_at, missing, different, extra,
       restored, half_applied, half_applied_since
  from public.reconciliation_lane;

create or replace view reporting.balances as
select account_id, balance, currency, revision, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, drift, disputed_since, disputed_why, recorded_at,
       lane, unverified_since, transfers_offset, balances_offset, erased_revision, half_applied_since
  from public.balance;

do $$
declare it record;
begin
  for it in
    select format('comment on column reporting.%I.%I is %L', v.relname, c.attname, col_description(t.oid, s.attnum)) as comment
      from (values ('balances', 'balance'), ('kafka_reconciliation', 'reconciliation'),
                   ('kafka_reconciliation_lanes', 'reconciliation_lane')) as taken (view, source)
      join pg_class v on v.relname = taken.view and v.relnamespace = 'reporting'::regnamespace
      join pg_class t on t.relname = taken.source and t.relnamespace = 'public'::regnamespace
      join pg_attribute c on c.attrelid = v.oid and c.attnum > 0
      join pg_attribute s on s.attrelid = t.oid and s.attname = c.attname and s.attnum > 0
  loop
    execute it.comment;
  end loop;
  comment on view reporting.kafka_reconciliation is
    'One row per lane and hour of Kafka time: the topic of transfers compared with SQL, as far as it was compared. '
    'missing, different, extra and restored should be 0. Records before start_offset of the lane are not compared';
  comment on column reporting.kafka_reconciliation.checked_at is
    'Time of the oldest comparison that the row contains, by the clock of Postgres';
  comment on view reporting.kafka_reconciliation_lanes is
    'One row per lane: how far it is compared with Kafka, and what differs in all of its hours';
end $$

grant select on reporting.kafka_reconciliation, reporting.kafka_reconciliation_lanes to analyst
