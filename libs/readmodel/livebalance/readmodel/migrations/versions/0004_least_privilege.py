"""Enables row-level security: a gateway sees only accounts that its statement has named (decision 11).

A gateway of an older release names no accounts and would see none, so it must be stopped before this
migration. A newer gateway also works without this migration.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = ("balance", "transfer")

# Without the setting, or if it is empty, no row matches. `= any(...)` would parse the list again for each
# row.
_ACCOUNT_IS_NAMED = (
    "account_id in (select unnest(string_to_array(current_setting('livebalance.accounts', true), ',')))"
)
_PREFIX_IS_NAMED = """exists (
  select from unnest(string_to_array(current_setting('livebalance.prefixes', true), ',')) as p (prefix)
   where starts_with(account_id, left(prefix, -1)))"""


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for table in _TABLES:
        execute(f"alter table {table} enable row level security")
        execute(f"alter table {table} force row level security")
        # The views of `reporting` read with the rights of their owner, who created the tables.
        execute(f"create policy owned on {table} to current_user using (true)")
        execute(f"create policy written on {table} to projector using (true)")
        execute(f"create policy operated on {table} for select to operator using (true)")
        execute(f"create policy named on {table} for select to gateway using ({_ACCOUNT_IS_NAMED})")
    execute(f"create policy started on balance for select to gateway using ({_PREFIX_IS_NAMED})")


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute("drop policy started on balance")
    for table in _TABLES:
        for policy in ("named", "operated", "written", "owned"):
            execute(f"drop policy {policy} on {table}")
        execute(f"alter table {table} no force row level security")
        execute(f"alter table {table} disable row level security")
