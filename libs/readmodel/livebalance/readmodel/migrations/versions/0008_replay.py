"""Lets the owner of a lane replay quarantined records that an operator has marked.

Only adds: older releases leave marked records as they are.
"""

from alembic import op
from sqlalchemy import text

from livebalance.readmodel.tables import intervention, quarantine

revision = "0008"
down_revision = "0007"

_GRANT = "update (state, reason) on quarantine"


def _execute(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    op.create_index(
        "quarantine_marked",
        "quarantine",
        ["partition", "id"],
        postgresql_where=text("state = 'replay'"),
        if_not_exists=True,
    )
    for column in (quarantine.c.state, intervention.c.what, intervention.c.was):
        op.alter_column(column.table.name, column.name, comment=column.comment)
    _execute(f"comment on column reporting.quarantine_summary.state is '{quarantine.c.state.comment}'")
    _execute(f"grant {_GRANT} to projector")


def downgrade() -> None:
    _execute(f"revoke {_GRANT} from projector")
    op.drop_index("quarantine_marked", if_exists=True)
