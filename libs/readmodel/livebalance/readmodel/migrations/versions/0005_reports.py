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
_FUNCTIONS = "statement, balance_as_of, balance_at, top_movers"
_VIEWS = "dormant_accounts, accounts, daily_flows, hourly_volume, reconciliation, quarantine_summary"


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
    """Views of before keep the columns that were added."""
    execute = op.get_bind().exec_driver_sql
    execute("set local search_path = reporting")
    execute(f"drop function {_FUNCTIONS}")
    execute(f"drop view {_VIEWS}")
    execute("reset search_path")
