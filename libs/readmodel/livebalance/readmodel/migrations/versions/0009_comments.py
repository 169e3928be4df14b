"""Sets all comments again, in plain English. Tables, columns, views and functions do not change."""

from pathlib import Path

from alembic import op
from sqlalchemy import inspect

from livebalance.readmodel.tables import metadata

revision = "0009"
down_revision = "0008"

_UP = Path(__file__).with_suffix(".sql")


def _comment_tables() -> None:
    """Sets the comments of tables and columns that exist at this revision."""
    inspector = inspect(op.get_bind())
    for table in metadata.sorted_tables:
        if not inspector.has_table(table.name):
            continue
        op.create_table_comment(table.name, table.comment)
        names = {column["name"] for column in inspector.get_columns(table.name)}
        for column in table.columns:
            if column.name in names:
                op.alter_column(table.name, column.name, comment=column.comment)


def upgrade() -> None:
    _comment_tables()
    for statement in _UP.read_text().split("\n\n"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Does nothing: no release reads comments."""
