"""Creates the totals of the sets that clients follow (decision 46).

Only adds: a projector of an older release adds nothing to totals, and a claim shows this.
"""

from pathlib import Path

from alembic import op

from livebalance.readmodel.tables import counted_set, followed_set, lane, metadata, set_total

revision = "0018"
down_revision = "0017"

_TABLES = [followed_set, counted_set, set_total]
_COLUMNS = {lane.c.kept_since: "bigint not null default 0", lane.c.kept_generation: "bigint"}
_SET_IS_NAMED = """channel in (
  select 'prefix:' || left(prefix, -1)
    from unnest(string_to_array(current_setting('livebalance.prefixes', true), ',')) as p (prefix)
   union all
  select 'client:' || client
    from unnest(string_to_array(current_setting('livebalance.clients', true), ',')) as c (client))"""


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for column, definition in _COLUMNS.items():
        execute(f"alter table lane add column if not exists {column.name} {definition}")
        op.alter_column("lane", column.name, comment=column.comment)
    metadata.create_all(op.get_bind(), _TABLES)
    for statement in Path(__file__).with_suffix(".sql").read_text().split("\n\n"):
        execute(statement)
    for table in (counted_set, set_total):  # a gateway sees the sets that its statement has named
        execute(f"alter table {table.name} enable row level security")
        execute(f"alter table {table.name} force row level security")
        execute(f"create policy owned on {table.name} to current_user using (true)")
        execute(f"create policy written on {table.name} to projector using (true)")
        execute(f"create policy operated on {table.name} for select to operator using (true)")
        execute(f"create policy named on {table.name} for select to gateway using ({_SET_IS_NAMED})")


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute("drop function follow_sets")
    metadata.drop_all(op.get_bind(), _TABLES)
    for column in _COLUMNS:
        execute(f"alter table lane drop column {column.name} cascade")
