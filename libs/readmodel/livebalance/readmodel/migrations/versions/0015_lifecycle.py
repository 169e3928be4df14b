"""Keeps known openings and the bounds of erasures, from the lifecycle topic (decision 23).

Only adds: older releases leave the columns as they are, and read no lifecycle topic.
"""

from pathlib import Path

from alembic import op

from livebalance.readmodel.tables import balance, intervention, lane

revision = "0015"
down_revision = "0014"

_COLUMNS = {
    lane.c.lifecycle_next: "bigint not null default 0",
    lane.c.lifecycle_topic_id: "uuid",
    balance.c.opening_known: "boolean not null default false",
    balance.c.erased_transfers_before: "bigint",
    balance.c.erased_balances_before: "bigint",
}
_INDEX = (
    "create index if not exists balance_erased_before on balance (lane)"
    " where erased_transfers_before is not null"
)
_GRANTS = (
    "update (erased_transfers_before, erased_balances_before) on balance to operator",
    "update (lifecycle_next, lifecycle_topic_id) on lane to operator",
)
_POLICY = "create policy restarted on balance for update to operator using (true)"


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for column, definition in _COLUMNS.items():
        table = column.table.name
        execute(f"alter table {table} add column if not exists {column.name} {definition}")
    for column in (*_COLUMNS, intervention.c.what, intervention.c.was):
        op.alter_column(column.table.name, column.name, comment=column.comment)
    execute(_INDEX)
    for right in _GRANTS:
        execute(f"grant {right}")
    execute("drop policy if exists restarted on balance")
    execute(_POLICY)
    for statement in Path(__file__).with_suffix(".sql").read_text().split("\n\n"):
        execute(statement)


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute("drop policy restarted on balance")
    execute("drop index balance_erased_before")
    for column in _COLUMNS:
        execute(f"alter table {column.table.name} drop column {column.name} cascade")
