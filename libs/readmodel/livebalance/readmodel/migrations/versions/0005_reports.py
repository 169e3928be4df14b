"""Adds views and functions for analysts, with comments on everything in the schemas.

Only adds: statements that read `reporting` work as before, and the tables do not change.
"""

from pathlib import Path

from alembic import op
from sqlalchemy import inspect

from livebalance.readmodel.tables import metadata

revision = "0005"
down_revision = "0004"

_UP = Path(__file__).with_suffix(".sql")
_TEMPORARY = """
do $$ begin
  execute format('grant temporary on database %I to public', current_database());
exception when insufficient_privilege then
  raise warning 'temporary tables stay forbidden: this role may not allow them';
end $$
"""


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
    """Drops the views. The limits of the role `analyst` stay, because other databases use the role, too."""
    scripts = op.get_context().script
    assert scripts
    op.get_bind().exec_driver_sql("drop schema reporting cascade")
    scripts.get_revision("0002").module.upgrade()  # the previous views
    op.get_bind().exec_driver_sql(_TEMPORARY)
