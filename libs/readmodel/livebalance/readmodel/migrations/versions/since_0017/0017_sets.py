"""Numbers the batches of a lane, and lets a gateway read the accounts of a client (decision 36).

Only adds: older releases leave both columns as they are. `migrate` builds the index of clients afterwards.
"""

from alembic import op

from livebalance.readmodel.tables import lane

revision = "0017"
down_revision = "0016"

_COLUMNS = {lane.c.batches: "bigint not null default 0", lane.c.batches_generation: "bigint"}
_CLIENT_IS_NAMED = (
    "client_id in (select unnest(string_to_array(current_setting('livebalance.clients', true), ',')))"
)


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for column, definition in _COLUMNS.items():
        execute(f"alter table lane add column if not exists {column.name} {definition}")
        op.alter_column("lane", column.name, comment=column.comment)
    execute("drop policy if exists owned_by_client on balance")
    execute(f"create policy owned_by_client on balance for select to gateway using ({_CLIENT_IS_NAMED})")


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute("drop policy owned_by_client on balance")
    execute("drop index if exists balance_client")
    for column in _COLUMNS:
        execute(f"alter table lane drop column {column.name} cascade")
