"""Lets a lane remember the ids of the topics that its offsets are of (decision 19).

Only adds: older releases leave the columns empty.
"""

from alembic import op

from livebalance.readmodel.tables import lane

revision = "0011"
down_revision = "0010"

_COLUMNS = (lane.c.transfers_topic_id, lane.c.balances_topic_id)
_NAMES = ", ".join(column.name for column in _COLUMNS)


def upgrade() -> None:
    for column in _COLUMNS:
        op.get_bind().exec_driver_sql(f"alter table lane add column if not exists {column.name} uuid")
        op.alter_column("lane", column.name, comment=column.comment)
    op.get_bind().exec_driver_sql(f"grant update ({_NAMES}) on lane to operator")


def downgrade() -> None:
    for column in _COLUMNS:
        op.drop_column("lane", column.name)
