"""Lets operators change the epoch and continue halted lanes; the table `intervention` records each change.

Only adds: older releases work as before.
"""

from alembic import op

from livebalance.readmodel.tables import intervention, metadata

revision = "0006"
down_revision = "0005"

_LANE_COLUMNS = (
    "epoch, as_of, halted_why, from_start, transfers_next, transfers_last, transfers_fingerprint,"
    " balances_next, balances_last, balances_fingerprint"
)
_PROJECTION_COLUMNS = "epoch, system_identifier, timeline"
_GRANTS = (
    f"update ({_LANE_COLUMNS}) on lane",
    f"update ({_PROJECTION_COLUMNS}) on projection",
    "insert (what, lane, was, became, why) on intervention",
    "select on intervention",
)


def upgrade() -> None:
    metadata.create_all(op.get_bind(), [intervention])
    for right in _GRANTS:
        op.get_bind().exec_driver_sql(f"grant {right} to operator")


def downgrade() -> None:
    op.get_bind().exec_driver_sql(f"revoke update ({_LANE_COLUMNS}) on lane from operator")
    op.get_bind().exec_driver_sql(f"revoke update ({_PROJECTION_COLUMNS}) on projection from operator")
    metadata.drop_all(op.get_bind(), [intervention])
