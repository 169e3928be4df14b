"""What an operator does by hand: ends an epoch, lets a halted lane go on. Each time a row says who, and why.

Only adds: who knows none of it goes on as before.
"""

from alembic import op

from livebalance.readmodel.tables import intervention, metadata

revision = "0006"
down_revision = "0005"

_OF_LANE = (
    "epoch, as_of, halted_why, from_start, transfers_next, transfers_last, transfers_fingerprint,"
    " balances_next, balances_last, balances_fingerprint"
)
_OF_PROJECTION = "epoch, system_identifier, timeline"
_GRANTS = (
    f"update ({_OF_LANE}) on lane",
    f"update ({_OF_PROJECTION}) on projection",
    "insert (what, lane, was, became, why) on intervention",
    "select on intervention",
)


def upgrade() -> None:
    metadata.create_all(op.get_bind(), [intervention])
    for right in _GRANTS:
        op.get_bind().exec_driver_sql(f"grant {right} to operator")


def downgrade() -> None:
    op.get_bind().exec_driver_sql(f"revoke update ({_OF_LANE}) on lane from operator")
    op.get_bind().exec_driver_sql(f"revoke update ({_OF_PROJECTION}) on projection from operator")
    metadata.drop_all(op.get_bind(), [intervention])
