"""Dashboard of balances and flows, by SQL on the schema `reporting` (columns: docs/reporting.md).

Amounts in tables are cast to text, because Grafana would convert a numeric to a float.
"""

from deploy.observability.boards.board import Board, Row
from deploy.observability.boards.panel import Panel, Sql, number, table

CONSERVED = """\
select (sum(balance + half_applied) <> sum(opening) + sum(posted_total))::int as is_missing
  from reporting.balances
 where drift is not null"""
SUMS = """\
select currency, count(*) as accounts, sum(balance)::text as balances,
       sum(half_applied)::text as half_applied, sum(opening)::text as openings,
       sum(posted_total)::text as moved
  from reporting.balances
 where drift is not null
 group by currency"""
STATES = "select state, count(*) as accounts from reporting.accounts group by state order by state"
RECONCILIATION = """\
select account_id, revision, balance::text, drift::text, disputed_since, disputed_why, lane
  from reporting.reconciliation
 order by disputed_since
 limit 100"""
HELD = "select coalesce(sum(records), 0) from reporting.quarantine_summary where state = 'held'"
QUARANTINE = "select * from reporting.quarantine_summary order by last_kafka_time desc"
FRESHNESS = """\
select lane, extract(epoch from age)::float8 as age, as_of, last_event_at, halted_why, epoch, known
  from reporting.freshness
 order by lane"""
HOURS = """\
select hour as time, transfers, volume
  from reporting.hourly_volume
 where $__timeFilter(hour)
 order by hour"""
DAYS = """\
select day, transfers, credits::text, debits::text, net::text
  from reporting.daily_flows
 order by day desc
 limit 31"""
MOVERS = """\
select place, account_id, transfers, credits::text, debits::text, net::text, volume::text
  from reporting.top_movers((now() at time zone 'UTC')::date)
 order by place"""

BOARD = Board(
    "money",
    "money and flows",
    [
        Row(
            "Conservation",
            [
                number(
                    "Money is conserved",
                    Sql(CONSERVED),
                    description="In one snapshot: balances + half applied = openings + transfers.",
                    red_from=1,
                    value_names={"0": "yes", "1": "no"},
                ),
                number(
                    "Accounts to reconcile", Sql("select count(*) from reporting.reconciliation"), red_from=1
                ),
                number(
                    "Records in quarantine",
                    Sql(HELD),
                    red_from=1,
                ),
                table("Sums by currency", Sql(SUMS), height=4),
                table("Accounts that are disputed or drift", Sql(RECONCILIATION), width=14),
                table("Quarantine by reason", Sql(QUARANTINE), width=10),
            ],
        ),
        Row(
            "Flows",
            [
                Panel("Transfers and volume per hour", [Sql(HOURS, over_time=True)], width=24),
                table("Flows per day (UTC)", Sql(DAYS)),
                table("Largest movers today", Sql(MOVERS)),
            ],
        ),
        Row(
            "Accounts and lanes",
            [
                table("Accounts by state", Sql(STATES), width=8),
                table("Freshness of each lane", Sql(FRESHNESS), width=16),
            ],
        ),
    ],
    since="2d",
    refresh="1m",  # each panel runs a statement in Postgres
)
