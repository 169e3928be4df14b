"""Completes comments of `reporting`, lets `balance_as_of` ignore null, and revokes pg_logical_emit_message.

Views and functions keep their parameters and columns.
"""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"

_UP = Path(__file__).with_suffix(".sql")


def upgrade() -> None:
    for statement in _UP.read_text().split("\n\n"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Does nothing: the previous release works with these changes."""
