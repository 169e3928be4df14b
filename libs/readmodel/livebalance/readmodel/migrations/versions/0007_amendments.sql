-- Statements are separated by an empty line; migration 0007 runs them in turn.
-- Not `strict`, which would do the same: Postgres makes no function part of a query that is.
create or replace function reporting.balance_as_of(account text, moment timestamptz)
returns table (account_id text, revision bigint, balance numeric, total numeric, recorded_at timestamptz)
language sql stable parallel safe
begin atomic
  select b.account_id, coalesce(t.revision, 0), b.opening + coalesce(t.total, 0), coalesce(t.total, 0), t.recorded_at
    from reporting.balances b
    left join lateral (
         select x.revision, x.total, x.recorded_at from reporting.transfers x
          where x.account_id = b.account_id and x.recorded_at < moment
          order by x.revision desc limit 1) t on true
   where b.account_id = account and moment is not null;
end;

do $$ begin
comment on column reporting.freshness.known is
  'Whether this server is the one that was written to; if not, believe nothing until it is again. '
  'Null: nothing was written yet';
comment on view reporting.quarantine_summary is
  'One row per partition, reason and state of records that could not be applied. Those of state held are left to be '
  'seen to; the others stay as what became of them. Empty if there never were any';
comment on function reporting.balance_at(text, bigint) is
  'What an account held at a revision, by its transfers. revision, total (the running sum) and recorded_at are of the '
  'last transfer up to it (0, 0 and null: there is none); balance is opening + total, null while the opening is not '
  'known, as of an account that was erased or waits for its first balance record. A revision counts in its epoch (in '
  'freshness): in another one the same number is another state. Nothing is known of before an erasure: an account '
  'that was opened again is told with its new opening. No row for an account or a revision that is not there';
comment on function reporting.balance_as_of(text, timestamptz) is
  'What an account held at a time, by its transfers. revision, total (the running sum) and recorded_at are of the last '
  'transfer recorded before it (0, 0 and null: there is none); balance is opening + total, null while the opening is '
  'not known, as of an account that was erased or waits for its first balance record. When an account was opened is '
  'not kept: of a time before that it is told with its opening, as if it had been there. Nothing is known of before an '
  'erasure: an account that was opened again is told with its new opening. No row for an account that is not there '
  'now, or without a time';
comment on function reporting.statement(text, timestamptz, timestamptz) is
  'What happened to an account from a time up to, and without, another, by recorded_at: a line opening, a line '
  'transfer for each, in order, and a line closing. Opening and closing are balance_as_of: of times before the account '
  'was opened they tell its opening, and of before an erasure the new one. The balance of opening and the sum of '
  'amounts make the balance of closing. balance and total (the running sum) are after the line; transfer_id, amount, '
  'occurred_at, topic, partition and source_offset are of a transfer, and null in the other lines. No row for an '
  'account that is not there now, without a time, or for a period that ends before it begins';
comment on function reporting.top_movers(date, bigint) is
  'The accounts with the greatest volume (amounts without their signs) on a day of UTC, by recorded_at, from place 1 '
  'on. transfers is how many; credits and debits are the sums of positive and of negative amounts, net is both; '
  'revision is of the last transfer of that day';
end $$

-- A way to write that everyone has, read-only or not: a message in the WAL. What it takes differs by version.
-- Who is no superuser is only warned, or refused if a superuser was here before; what stays open `migrate` finds.
do $$
declare writer regprocedure;
begin
  for writer in
    select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname = 'pg_logical_emit_message'
  loop
    execute format('revoke execute on function %s from public', writer);
  end loop;
exception when insufficient_privilege then null;
end $$
