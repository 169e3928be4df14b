"""What `reporting` left unsaid is said; no balance as of no time; and a way to write is closed to everyone.

Only adds: views and functions take and give what they did.
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
    """Nothing: who knows the schema of before misses none of what was mended."""
