"""A record in quarantine that an operator marks is applied by the owner of its lane.

Only adds: who knows none of it leaves marked records as they are.
"""

from alembic import op
from sqlalchemy import text

from livebalance.readmodel.tables import intervention, quarantine

revision = "0008"
down_revision = "0007"

_GRANT = "update (state, reason) on quarantine"


def _say(statement: str) -> None:
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
    _say(f"comment on column reporting.quarantine_summary.state is '{quarantine.c.state.comment}'")
    _say(f"grant {_GRANT} to projector")


def downgrade() -> None:
    _say(f"revoke {_GRANT} from projector")
    op.drop_index("quarantine_marked", if_exists=True)
