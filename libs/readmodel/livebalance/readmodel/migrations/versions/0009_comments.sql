-- Statements are separated by an empty line; migration 0009 runs them in turn.
-- A column that a view takes unchanged from a table has the same comment.
do $$
declare it record;
begin
  for it in
    select format('comment on column reporting.%I.%I is %L', v.relname, c.attname, col_description(t.oid, s.attnum)) as comment
      from (values ('balances', 'balance'), ('transfers', 'transfer'), ('freshness', 'lane'), ('accounts', 'balance'),
                   ('dormant_accounts', 'balance'), ('reconciliation', 'balance'),
                   ('quarantine_summary', 'quarantine')) as taken (view, source)
      join pg_class v on v.relname = taken.view and v.relnamespace = 'reporting'::regnamespace
      join pg_class t on t.relname = taken.source and t.relnamespace = 'public'::regnamespace
      join pg_attribute c on c.attrelid = v.oid and c.attnum > 0
      join pg_attribute s on s.attrelid = t.oid and s.attname = c.attname and s.attnum > 0
  loop
    execute it.comment;
  end loop;
end $$

do $$ begin
comment on schema reporting is
  'Views and functions for analysts. Existing columns and functions stay; new columns and functions may be added';
comment on view public.server_identity is 'Identity of this Postgres server: its system identifier, and the timeline of its WAL';
comment on column public.server_identity.system_identifier is 'Assigned by initdb; copies of the data directory have the same value';
comment on column public.server_identity.timeline is 'First 8 hex digits of the name of a WAL file, or standby';
comment on view public.truth is 'The epoch, and whether the projection was written to this server';
comment on column public.truth.epoch is '16 hex digits, compared for equality only';
comment on column public.truth.partitions is 'Number of lanes';
comment on column public.truth.known is 'Whether the projection was written to this server';
comment on table public.alembic_version is 'One row: the newest migration that was applied';
comment on column public.alembic_version.version_num is 'Number of the migration';
comment on view reporting.accounts is 'One row per account, including erased accounts';
comment on column reporting.accounts.state is
  'open; waiting: the account has transfers but no balance record yet; erased: only the row and its revision are left';
comment on column reporting.accounts.last_transfer_at is 'recorded_at of the newest transfer; null: the account has none';
comment on view reporting.balances is 'One row per account: its balance, and whether the balance agrees with the transfers';
comment on view reporting.transfers is 'One row per transfer; revision is the order within an account';
comment on column reporting.transfers.balance_after is 'opening + total; null until the opening is known';
comment on column reporting.transfers.partition is 'Partition of the record';
comment on view reporting.freshness is 'One row per partition: how far it is applied, and the time that it is complete as of';
comment on column reporting.freshness.age is 'now() - as_of';
comment on column reporting.freshness.known is
  'Whether the projection was written to this server; always false on a standby. On any other server, do not use the data '
  'while it is false. Null: nothing was written yet';
comment on view reporting.daily_flows is 'One row per day with transfers, over all accounts. Days are in UTC, by recorded_at';
comment on column reporting.daily_flows.day is 'Day in UTC';
comment on column reporting.daily_flows.transfers is 'Number of transfers';
comment on column reporting.daily_flows.credits is 'Sum of the positive amounts';
comment on column reporting.daily_flows.debits is 'Sum of the negative amounts, 0 or less';
comment on column reporting.daily_flows.net is 'credits + debits';
comment on view reporting.hourly_volume is 'One row per hour with transfers, over all accounts, by recorded_at';
comment on column reporting.hourly_volume.hour is 'Start of the hour';
comment on column reporting.hourly_volume.transfers is 'Number of transfers';
comment on column reporting.hourly_volume.volume is 'Sum of the amounts without their signs';
comment on view reporting.dormant_accounts is
  'One row per account without a transfer for 30 days. If an account never had a transfer, its last balance record counts';
comment on column reporting.dormant_accounts.last_transfer_at is
  'recorded_at of the newest transfer; null: the account has none';
comment on column reporting.dormant_accounts.idle is 'Time since the last transfer, or since the last balance record';
comment on view reporting.reconciliation is
  'One row per account that is disputed or whose drift is not 0. Empty if all accounts agree';
comment on view reporting.quarantine_summary is
  'One row per partition, reason and state of rejected records. Records in the state held need attention; another state is '
  'the outcome. Empty if no record was ever rejected';
comment on column reporting.quarantine_summary.records is 'Number of records';
comment on column reporting.quarantine_summary.first_offset is 'Lowest offset of the records';
comment on column reporting.quarantine_summary.last_offset is 'Highest offset of the records';
comment on column reporting.quarantine_summary.first_kafka_time is 'Earliest Kafka time of the records';
comment on column reporting.quarantine_summary.last_kafka_time is 'Latest Kafka time of the records';
comment on function reporting.balance_at(text, bigint) is
  'Balance of an account at a revision, computed from its transfers. revision, total (running sum) and recorded_at are '
  'those of the last transfer up to that revision; without a transfer they are 0, 0 and null. balance is opening + total, '
  'or null while the opening is unknown: if the account was erased, or waits for its first balance record. A revision '
  'belongs to an epoch (see freshness): in another epoch the same number is another state. States before an erasure are '
  'not kept: if the account was opened again, the result uses its new opening. No row if the account does not exist, or '
  'has not reached the revision';
comment on function reporting.balance_as_of(text, timestamptz) is
  'Balance of an account at a time, computed from its transfers. revision, total (running sum) and recorded_at are those '
  'of the last transfer recorded before that time; without a transfer they are 0, 0 and null. balance is opening + total, '
  'or null while the opening is unknown: if the account was erased, or waits for its first balance record. The time when '
  'an account was opened is not kept: for earlier times the balance is the opening. States before an erasure are not '
  'kept: if the account was opened again, the result uses its new opening. No row if the account does not exist now, or '
  'if the time is null';
comment on function reporting.statement(text, timestamptz, timestamptz) is
  'Statement of an account for the period from since (included) to until (excluded), by recorded_at: a line opening, a '
  'line transfer for each transfer in order, and a line closing. Opening and closing are those of balance_as_of: before the '
  'account was opened they show the opening, and before an erasure the new opening. The opening balance and the sum of '
  'the amounts give the closing balance. balance and total (running sum) are those after the line. transfer_id, amount, '
  'occurred_at, topic, partition and source_offset are null in the lines opening and closing. No row if the account does '
  'not exist now, if a time is null, or if the period ends before it begins';
comment on function reporting.top_movers(date, bigint) is
  'Accounts with the greatest volume (sum of amounts without their signs) on a day in UTC, by recorded_at. Place 1 has the '
  'greatest. transfers is the number of transfers; credits and debits are the sums of the positive and of the negative '
  'amounts; net is the sum of both; revision is that of the last transfer of the day';
end $$
