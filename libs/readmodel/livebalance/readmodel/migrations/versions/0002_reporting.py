"""Creates the schema `reporting`, the only schema that analysts may read."""

from alembic import op

revision = "0002"
down_revision = "0001"

_UP = """
create schema reporting;

create view reporting.balances as
select account_id, balance, currency, revision, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, drift, disputed_since, disputed_why, recorded_at
from public.balance;
comment on view reporting.balances is 'One row per account: its balance, and if it is what its transfers say';

create view reporting.transfers as
select t.account_id, t.revision, t.transfer_id, t.amount, t.total, b.opening + t.total as balance_after,
       t.occurred_at, t.recorded_at, t.topic, t.lane as partition, t.source_offset
from public.transfer t join public.balance b using (account_id);
comment on view reporting.transfers is 'One row per transfer, in its account''s order by revision';

create view reporting.freshness as
select lane, transfers_next, balances_next, last_event_at, as_of, now() - as_of as age, halted_why
from public.lane;
comment on view reporting.freshness is 'One row per lane: as of when it is complete';

grant usage on schema reporting to analyst;
grant select on all tables in schema reporting to analyst;
alter role analyst set search_path = reporting
"""


def upgrade() -> None:
    for statement in _UP.split(";\n"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop schema reporting cascade")
