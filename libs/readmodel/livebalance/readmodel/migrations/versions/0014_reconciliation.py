"""Creates the tables of the reconciliation with Kafka (decision 25).

Only adds: older releases leave the columns and tables empty. `migrate` builds the index `transfer_source`
afterwards, because `create index concurrently` needs a transaction of its own. Existing accounts get
`half_applied_since` here, so the migration reads all balances.
"""

from pathlib import Path

from alembic import op

from livebalance.readmodel.tables import (
    balance,
    half_applied_account,
    metadata,
    reconciliation,
    reconciliation_lane,
)

revision = "0014"
down_revision = "0013"

_COLUMNS = {balance.c.half_applied_since: "timestamptz", balance.c.erased_offset: "bigint"}
_TABLES = [reconciliation, reconciliation_lane, half_applied_account]
_FILL = """
update balance set half_applied_since = recorded_at
 where half_applied <> 0 or (balance is null and transfer_count > 0)
"""


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for column, definition in _COLUMNS.items():
        execute(f"alter table balance add column if not exists {column.name} {definition}")
        op.alter_column("balance", column.name, comment=column.comment)
    execute(_FILL)
    metadata.create_all(op.get_bind(), _TABLES)
    for table in _TABLES:
        execute(f"grant select, insert, update, delete on {table.name} to projector")
    for statement in Path(__file__).with_suffix(".sql").read_text().split("\n\n"):
        execute(statement)


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for view in ("kafka_reconciliation", "kafka_reconciliation_lanes"):
        execute(f"drop view reporting.{view}")
    metadata.drop_all(op.get_bind(), _TABLES)
    execute("drop index if exists transfer_source")
    for column in _COLUMNS:
        execute(f"alter table balance drop column {column.name} cascade")
