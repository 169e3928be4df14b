"""Keeps the headers of quarantined records as bytes, and lets operators quarantine a record of a halted lane.

Only adds: the previous release writes `headers` as before.
"""

import sqlalchemy as sa
from alembic import op

from livebalance.readmodel.tables import intervention, quarantine

revision = "0010"
down_revision = "0009"

_COLUMNS = "topic, partition, source_offset, key, value, header_bytes, kafka_time, reason, state"
_GRANT = f"insert ({_COLUMNS}) on quarantine"


def _execute(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("header_bytes", sa.LargeBinary, nullable=True), if_not_exists=True)
    op.alter_column("quarantine", "headers", server_default=quarantine.c.headers.server_default)
    for column in (
        quarantine.c.headers,
        quarantine.c.header_bytes,
        quarantine.c.state,
        intervention.c.what,
    ):
        op.alter_column(column.table.name, column.name, comment=column.comment)
    _execute(f"comment on column reporting.quarantine_summary.state is '{quarantine.c.state.comment}'")
    _execute(f"grant {_GRANT} to operator")


def downgrade() -> None:
    _execute(f"revoke {_GRANT} from operator")
    op.alter_column("quarantine", "headers", server_default=None)
    op.drop_column("quarantine", "header_bytes")
