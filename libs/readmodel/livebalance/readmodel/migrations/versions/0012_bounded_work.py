"""Bounds claims and statements: what they read does not grow with the number of accounts or transfers.

The rows of lanes contain the numbers of their disputed, drifting and unverified accounts.

Statements and balances as of a time find their place by a search over the revisions of the account.

The numbers of existing lanes are counted by the first projector of this release, because projectors of the
previous release may write until then. The migration reads all balances to build an index of few of them.
"""

from pathlib import Path

from alembic import op

from livebalance.readmodel.tables import balance, lane

revision = "0012"
down_revision = "0011"

_NUMBER = "bigint not null default 0"
_COLUMNS = {
    lane.c.disputed: _NUMBER,
    lane.c.drifting: _NUMBER,
    lane.c.unverified: _NUMBER,
    lane.c.totals_generation: "bigint",
    balance.c.erased_revision: _NUMBER,
    balance.c.deleted_revision: _NUMBER,
}
_INDEXES = {
    "balance_unverified": "(lane, unverified_since) where unverified_since is not null",
    "balance_erasing": "(lane, account_id) where erased_revision > deleted_revision",
}
# The balance of such an account no longer waits for a transfer: it may be from before the start.
_CUT = """
update balance b set unverified_since = null
  from lane l
 where b.lane = l.lane and not l.from_start and b.unverified_since is not null
   and b.opening is null and b.transfer_count = 0
"""


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for column, definition in _COLUMNS.items():
        table = column.table.name
        execute(f"alter table {table} add column if not exists {column.name} {definition}")
        op.alter_column(table, column.name, comment=column.comment)
    execute(_CUT)
    for index, definition in _INDEXES.items():
        execute(f"create index if not exists {index} on balance {definition}")
    for statement in Path(__file__).with_suffix(".sql").read_text().split("\n\n"):
        execute(statement)


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for index in _INDEXES:
        execute(f"drop index {index}")
    for column in _COLUMNS:
        execute(f"alter table {column.table.name} drop column {column.name} cascade")
