-- Statements are separated by an empty line; migration 0005 runs them in turn.
-- The functions have no rights of their own: they read the views as whoever asks.
create or replace view reporting.balances as
select account_id, balance, currency, revision, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, drift, disputed_since, disputed_why, recorded_at,
       lane, unverified_since, transfers_offset, balances_offset
  from public.balance;

-- By an outer join, so that who does not ask for balance_after does not pay for it.
create or replace view reporting.transfers as
select t.account_id, t.revision, t.transfer_id, t.amount, t.total, b.opening + t.total as balance_after,
       t.occurred_at, t.recorded_at, t.topic, t.lane as partition, t.source_offset
  from public.transfer t left join public.balance b using (account_id);

create or replace view reporting.freshness as
select l.lane, l.transfers_next, l.balances_next, l.last_event_at, l.as_of, now() - l.as_of as age, l.halted_why,
       l.epoch, t.known
  from public.lane l left join public.truth t on true;

create view reporting.accounts as
select b.account_id, b.client_id, b.currency, b.lane,
       case when b.balance is not null then 'open' when b.transfer_count > 0 then 'waiting' else 'erased' end as state,
       b.revision, b.opening, b.transfer_count, b.recorded_at,
       (select t.recorded_at from public.transfer t
         where t.account_id = b.account_id order by t.revision desc limit 1) as last_transfer_at
  from public.balance b;

create view reporting.daily_flows as
select (day at time zone 'UTC')::date as day, transfers, credits, debits, credits + debits as net
  from (select date_bin('1 day', recorded_at, '2000-01-01Z') as day, count(*) as transfers,
               coalesce(sum(amount) filter (where amount > 0), 0) as credits,
               coalesce(sum(amount) filter (where amount < 0), 0) as debits
          from public.transfer group by 1) days;

create view reporting.hourly_volume as
select date_bin('1 hour', recorded_at, '2000-01-01Z') as hour, count(*) as transfers, sum(abs(amount)) as volume
  from public.transfer group by 1;

create view reporting.dormant_accounts as
select account_id, client_id, currency, revision, transfer_count, last_transfer_at,
       now() - coalesce(last_transfer_at, recorded_at) as idle
  from reporting.accounts
 where state <> 'erased' and coalesce(last_transfer_at, recorded_at) < now() - interval '30 days';

create view reporting.reconciliation as
select account_id, revision, balance, opening, posted_total, half_applied, drift, disputed_since, disputed_why,
       lane, transfers_offset, balances_offset
  from public.balance
 where disputed_since is not null or drift <> 0;

create view reporting.quarantine_summary as
select topic, partition, reason, state, count(*) as records, min(source_offset) as first_offset,
       max(source_offset) as last_offset, min(kafka_time) as first_kafka_time, max(kafka_time) as last_kafka_time
  from public.quarantine group by topic, partition, reason, state;

create function reporting.balance_at(account text, at_revision bigint)
returns table (account_id text, revision bigint, balance numeric, total numeric, recorded_at timestamptz)
language sql stable parallel safe
begin atomic
  select b.account_id, coalesce(t.revision, 0), b.opening + coalesce(t.total, 0), coalesce(t.total, 0), t.recorded_at
    from reporting.balances b
    left join lateral (
         select x.revision, x.total, x.recorded_at from reporting.transfers x
          where x.account_id = b.account_id and x.revision <= at_revision
          order by x.revision desc limit 1) t on true
   where b.account_id = account and at_revision between 0 and b.revision;
end;

create function reporting.balance_as_of(account text, moment timestamptz)
returns table (account_id text, revision bigint, balance numeric, total numeric, recorded_at timestamptz)
language sql stable parallel safe
begin atomic
  select b.account_id, coalesce(t.revision, 0), b.opening + coalesce(t.total, 0), coalesce(t.total, 0), t.recorded_at
    from reporting.balances b
    left join lateral (
         select x.revision, x.total, x.recorded_at from reporting.transfers x
          where x.account_id = b.account_id and x.recorded_at < moment
          order by x.revision desc limit 1) t on true
   where b.account_id = account;
end;

create function reporting.statement(
  account text, since timestamptz default '-infinity', until timestamptz default 'infinity')
returns table (line text, revision bigint, transfer_id text, amount numeric, total numeric, balance numeric,
               occurred_at timestamptz, recorded_at timestamptz, topic text, partition int, source_offset bigint)
language sql stable parallel safe
begin atomic
  select s.line, s.revision, s.transfer_id, s.amount, s.total, s.balance, s.occurred_at, s.recorded_at, s.topic,
         s.partition, s.source_offset
    from (select 1 as part, 'opening' as line, o.revision, null as transfer_id, null::numeric as amount, o.total,
                 o.balance, null::timestamptz as occurred_at, o.recorded_at, null as topic,
                 null::int as partition, null::bigint as source_offset
            from reporting.balance_as_of(account, since) o
           union all
          select 2, 'transfer', t.revision, t.transfer_id, t.amount, t.total, t.balance_after, t.occurred_at,
                 t.recorded_at, t.topic, t.partition, t.source_offset
            from reporting.transfers t
           where t.account_id = account and t.recorded_at >= since and t.recorded_at < until
           union all
          select 3, 'closing', c.revision, null, null, c.total, c.balance, null, c.recorded_at, null, null, null
            from reporting.balance_as_of(account, until) c) s
   where since <= until
   order by s.part, s.revision;
end;

create function reporting.top_movers(day date, places bigint default 10)
returns table (place bigint, account_id text, transfers bigint, credits numeric, debits numeric, net numeric,
               volume numeric, revision bigint)
language sql stable parallel safe
begin atomic
  select row_number() over (order by m.credits - m.debits desc, m.account_id collate "C"), m.account_id, m.transfers,
         m.credits, m.debits, m.credits + m.debits, m.credits - m.debits, m.revision
    from (select t.account_id, count(*) as transfers, max(t.revision) as revision,
                 coalesce(sum(t.amount) filter (where t.amount > 0), 0) as credits,
                 coalesce(sum(t.amount) filter (where t.amount < 0), 0) as debits
            from reporting.transfers t
           where t.recorded_at >= day::timestamp at time zone 'UTC'
             and t.recorded_at < (day + 1)::timestamp at time zone 'UTC'
           group by t.account_id) m
   order by m.credits - m.debits desc, m.account_id collate "C"
   limit places;
end;

do $$ begin
comment on schema reporting is 'What an analyst may ask: it changes only by growing';
comment on view public.server_identity is 'Which Postgres this is: its system identifier, and the timeline of its WAL';
comment on column public.server_identity.system_identifier is 'Given by initdb; copies of the data have it too';
comment on column public.server_identity.timeline is 'The first 8 hex digits of the name of a WAL file, or standby';
comment on column public.truth.epoch is '16 hex digits, compared for equality only';
comment on column public.truth.partitions is 'How many lanes there are';
comment on column public.truth.known is 'Whether this server is the one the projection was written to';
comment on table public.alembic_version is 'One row: the newest migration that was run';
comment on column public.alembic_version.version_num is 'Its number';
comment on view reporting.accounts is 'One row per account, erased ones too';
comment on column reporting.accounts.state is
  'open; waiting: transfers are there and a balance record is not yet; erased: nothing is left but the revision';
comment on column reporting.accounts.last_transfer_at is 'recorded_at of its newest transfer; null: it has none';
comment on view reporting.balances is 'One row per account: its balance, and if it is what its transfers say';
comment on view reporting.transfers is 'One row per transfer, in the order of its account by revision';
comment on column reporting.transfers.balance_after is 'opening + total; null until the opening is known';
comment on column reporting.transfers.partition is 'The partition it came by';
comment on view reporting.freshness is 'One row per partition: how far it is applied, and as of when it is complete';
comment on column reporting.freshness.age is 'now() - as_of';
comment on column reporting.freshness.known is
  'Whether this server is the one that was written to; if not, believe nothing until it is again';
comment on view reporting.daily_flows is 'One row per day with transfers, of all accounts. Days are of UTC, by recorded_at';
comment on column reporting.daily_flows.day is 'The day, of UTC';
comment on column reporting.daily_flows.transfers is 'How many';
comment on column reporting.daily_flows.credits is 'The sum of positive amounts';
comment on column reporting.daily_flows.debits is 'The sum of negative amounts: not above 0';
comment on column reporting.daily_flows.net is 'credits + debits';
comment on view reporting.hourly_volume is 'One row per hour with transfers, of all accounts, by recorded_at';
comment on column reporting.hourly_volume.hour is 'Its beginning';
comment on column reporting.hourly_volume.transfers is 'How many';
comment on column reporting.hourly_volume.volume is 'The sum of amounts without their signs';
comment on view reporting.dormant_accounts is
  'One row per account without a transfer for 30 days; of one that never had any, since its last balance record';
comment on column reporting.dormant_accounts.last_transfer_at is
  'recorded_at of its newest transfer; null: it has none';
comment on column reporting.dormant_accounts.idle is 'For how long';
comment on view reporting.reconciliation is
  'One row per account that is disputed or whose drift is not 0: empty when all is well';
comment on view reporting.quarantine_summary is
  'One row per partition, reason and state of records that could not be applied: empty when all is well';
comment on column reporting.quarantine_summary.records is 'How many';
comment on column reporting.quarantine_summary.first_offset is 'The lowest offset of them';
comment on column reporting.quarantine_summary.last_offset is 'The highest offset of them';
comment on column reporting.quarantine_summary.first_kafka_time is 'The earliest Kafka time of them';
comment on column reporting.quarantine_summary.last_kafka_time is 'The latest Kafka time of them';
comment on function reporting.balance_at(text, bigint) is
  'What an account held at a revision, by its transfers: opening + total of the last one up to it, which revision '
  'and recorded_at are of (0 and null: there is none). No row for an account or a revision that is not there yet';
comment on function reporting.balance_as_of(text, timestamptz) is
  'What an account held at a time, by its transfers: opening + total of the last one recorded before it, which '
  'revision and recorded_at are of (0 and null: there is none). No row for an account that is not there yet';
comment on function reporting.statement(text, timestamptz, timestamptz) is
  'What happened to an account from a time up to, and without, another, by recorded_at: a line opening, a line '
  'transfer for each, in order, and a line closing. Opening and closing are balance_as_of; the balance of opening '
  'and the sum of amounts make the balance of closing';
comment on function reporting.top_movers(date, bigint) is
  'The accounts with the greatest volume (amounts without their signs) on a day of UTC, by recorded_at; revision is '
  'of the last transfer of that day';
end $$

-- A column that a view takes as it is from a table means the same.
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
      join pg_attribute c on c.attrelid = v.oid and col_description(v.oid, c.attnum) is null
      join pg_attribute s on s.attrelid = t.oid and s.attname = c.attname and s.attnum > 0
  loop
    execute it.comment;
  end loop;
end $$

do $$ begin
grant select on all tables in schema reporting to analyst;
revoke execute on all functions in schema reporting from public;
grant execute on all functions in schema reporting to analyst;
alter role analyst connection limit 10;
alter role analyst set default_transaction_isolation = 'repeatable read';
alter role analyst set idle_in_transaction_session_timeout = '60s';
alter role analyst set max_parallel_workers_per_gather = 0;
alter role analyst set jit = off;
if current_setting('server_version_num')::int >= 170000 then
  alter role analyst set transaction_timeout = '5min';
end if;
end $$

-- Ways to write that everyone has: not every owner can close them, and the migration is to run without that too.
do $$
declare closing text;
begin
  foreach closing in array array[
    format('revoke temporary on database %I from public', current_database()),
    'revoke execute on function pg_catalog.lo_creat(int), pg_catalog.lo_create(oid),'
    ' pg_catalog.lo_from_bytea(oid, bytea) from public',
    'alter role analyst set temp_file_limit = ''1GB''']
  loop
    begin
      execute closing;
    exception when insufficient_privilege then
      raise warning 'not closed to analysts, this role may not: %', closing;
    end;
  end loop;
end $$
