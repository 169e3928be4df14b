"""Reports for who knows only SQL: views and functions with one meaning each, said in the database itself.

Only adds: what reads `reporting` goes on as before, and the tables are as they were.
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
    """What the tables say of themselves, as far as they are there."""
    there = inspect(op.get_bind())
    for table in metadata.sorted_tables:
        if not there.has_table(table.name):
            continue
        op.create_table_comment(table.name, table.comment)
        names = {column["name"] for column in there.get_columns(table.name)}
        for column in table.columns:
            if column.name in names:
                op.alter_column(table.name, column.name, comment=column.comment)


def upgrade() -> None:
    _comment_tables()
    for statement in _UP.read_text().split("\n\n"):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Limits of the role `analyst` stay: other databases of the server have it too."""
    scripts = op.get_context().script
    assert scripts
    op.get_bind().exec_driver_sql("drop schema reporting cascade")
    scripts.get_revision("0002").module.upgrade()  # the views as they were
    op.get_bind().exec_driver_sql(_TEMPORARY)
