-- Statements are separated by an empty line; 0012_bounded_work.py runs them in turn.
create or replace view reporting.balances as
select account_id, balance, currency, revision, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, drift, disputed_since, disputed_why, recorded_at,
       lane, unverified_since, transfers_offset, balances_offset, erased_revision
  from public.balance;

-- Erased transfers are deleted in pieces. Few accounts have such transfers, and an index has these accounts only.
-- The outer join costs a query that does not ask for balance_after nothing.
create or replace view reporting.transfers as
select t.account_id, t.revision, t.transfer_id, t.amount, t.total, b.opening + t.total as balance_after,
       t.occurred_at, t.recorded_at, t.topic, t.lane as partition, t.source_offset
  from public.transfer t left join public.balance b using (account_id)
 where not exists (
       select from public.balance e
        where e.lane = t.lane and e.account_id = t.account_id and e.erased_revision > e.deleted_revision
          and e.erased_revision >= t.revision);

create or replace view reporting.accounts as
select b.account_id, b.client_id, b.currency, b.lane,
       case when b.balance is not null then 'open' when b.transfer_count > 0 then 'waiting' else 'erased' end as state,
       b.revision, b.opening, b.transfer_count, b.recorded_at,
       (select t.recorded_at from public.transfer t
         where t.account_id = b.account_id and t.revision > b.erased_revision
         order by t.revision desc limit 1) as last_transfer_at
  from public.balance b;

create or replace view reporting.daily_flows as
select (day at time zone 'UTC')::date as day, transfers, credits, debits, credits + debits as net
  from (select date_bin('1 day', recorded_at, '2000-01-01Z') as day, count(*) as transfers,
               coalesce(sum(amount) filter (where amount > 0), 0) as credits,
               coalesce(sum(amount) filter (where amount < 0), 0) as debits
          from reporting.transfers group by 1) days;

create or replace view reporting.hourly_volume as
select date_bin('1 hour', recorded_at, '2000-01-01Z') as hour, count(*) as transfers, sum(abs(amount)) as volume
  from reporting.transfers group by 1;

create or replace function reporting.balance_at(account text, at_revision bigint)
returns table (account_id text, revision bigint, balance numeric, total numeric, recorded_at timestamptz)
language sql stable parallel safe
begin atomic
  select b.account_id, coalesce(t.revision, 0), b.opening + coalesce(t.total, 0), coalesce(t.total, 0), t.recorded_at
    from reporting.balances b
    left join lateral (
         select x.revision, x.total, x.recorded_at from reporting.transfers x
          where x.account_id = b.account_id and x.revision <= at_revision and x.revision > b.erased_revision
          order by x.revision desc limit 1) t on true
   where b.account_id = account and at_revision between 0 and b.revision;
end;

-- Kafka times never decrease within an account. A search over its revisions therefore finds the last transfer before a
-- time in about two look-ups per doubling of the revisions, wherever the time lies. Every transfer up to `low` is before
-- the time, every transfer above `high` is not. Each step looks at the first transfer after the middle.
create or replace function reporting.balance_as_of(account text, moment timestamptz)
returns table (account_id text, revision bigint, balance numeric, total numeric, recorded_at timestamptz)
language sql stable parallel safe
begin atomic
  select b.account_id, coalesce(t.revision, 0), b.opening + coalesce(t.total, 0), coalesce(t.total, 0), t.recorded_at
    from reporting.balances b
    left join lateral (
         with recursive search (low, high) as (
           select b.erased_revision, b.revision
            union all
           select case when x.recorded_at < moment then x.revision else s.low end,
                  case when x.recorded_at < moment then s.high else s.middle end
             from (select low, high, (low + high) / 2 as middle from search where low < high) s
             left join lateral (
                  select x.revision, x.recorded_at from reporting.transfers x
                   where x.account_id = b.account_id and x.revision > s.middle and x.revision <= s.high
                   order by x.revision limit 1) x on true)
         select x.revision, x.total, x.recorded_at from reporting.transfers x
          where x.account_id = b.account_id and x.revision = (select max(low) from search)) t on true
   where b.account_id = account and moment is not null;
end;

create or replace function reporting.statement(
  account text, since timestamptz default '-infinity', until timestamptz default 'infinity')
returns table (line text, revision bigint, transfer_id text, amount numeric, total numeric, balance numeric,
               occurred_at timestamptz, recorded_at timestamptz, topic text, partition int, source_offset bigint)
language sql stable parallel safe
begin atomic
  with opening as materialized (select * from reporting.balance_as_of(account, since) where since <= until),
       closing as materialized (select * from reporting.balance_as_of(account, until) where since <= until)
  select s.line, s.revision, s.transfer_id, s.amount, s.total, s.balance, s.occurred_at, s.recorded_at, s.topic,
         s.partition, s.source_offset
    from (select 1 as part, 'opening' as line, o.revision, null as transfer_id, null::numeric as amount, o.total,
                 o.balance, null::timestamptz as occurred_at, o.recorded_at, null as topic,
                 null::int as partition, null::bigint as source_offset
            from opening o
           union all
          select 2, 'transfer', t.revision, t.transfer_id, t.amount, t.total, t.balance_after, t.occurred_at,
                 t.recorded_at, t.topic, t.partition, t.source_offset
            from opening o
           cross join closing c
            join reporting.balances b on b.account_id = account
            join reporting.transfers t on t.account_id = account
             and t.revision > greatest(o.revision, b.erased_revision) and t.revision <= c.revision
           union all
          select 3, 'closing', c.revision, null, null, c.total, c.balance, null, c.recorded_at, null, null, null
            from closing c) s
   order by s.part, s.revision;
end;

comment on column reporting.balances.erased_revision is
  'Revision of the last erasure: transfers up to it are erased; 0: none'
