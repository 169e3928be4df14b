"""Keeps which transfers of an account are of a former topic, whose offsets are not those of the topic now.

Only adds: older releases leave the column as it is, and do not read it.
"""

from alembic import op

from livebalance.readmodel.tables import balance

revision = "0016"
down_revision = "0015"

_COLUMN = balance.c.moved_revision


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute(f"alter table balance add column if not exists {_COLUMN.name} bigint not null default 0")
    op.alter_column("balance", _COLUMN.name, comment=_COLUMN.comment)
    execute(f"grant update ({_COLUMN.name}) on balance to operator")


def downgrade() -> None:
    op.get_bind().exec_driver_sql(f"alter table balance drop column {_COLUMN.name} cascade")
