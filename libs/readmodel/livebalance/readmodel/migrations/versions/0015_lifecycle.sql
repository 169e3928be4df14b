-- Statements are separated by an empty line; migration 0015 runs them in turn.
create or replace view reporting.balances as
select account_id, balance, currency, revision, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, drift, disputed_since, disputed_why, recorded_at,
       lane, unverified_since, transfers_offset, balances_offset, erased_revision, half_applied_since,
       opening_known
  from public.balance;

create or replace view reporting.accounts as
select b.account_id, b.client_id, b.currency, b.lane,
       case when b.balance is not null then 'open' when b.transfer_count > 0 or b.opening is not null then 'waiting'
            else 'erased' end as state,
       b.revision, b.opening, b.transfer_count, b.recorded_at,
       (select t.recorded_at from public.transfer t
         where t.account_id = b.account_id and t.revision > b.erased_revision
         order by t.revision desc limit 1) as last_transfer_at
  from public.balance b;

comment on column reporting.balances.opening_known is
  'Whether opening is from the lifecycle topic; false: it is derived from the first verified balance'

comment on column reporting.accounts.state is
  'open; waiting: the account has transfers or a known opening but no balance record yet; erased: only the row and its revision are left'
