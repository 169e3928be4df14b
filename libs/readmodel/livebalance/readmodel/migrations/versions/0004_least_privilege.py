"""A gateway sees rows only of the accounts that its statement has named before: row-level security.

A gateway of before names none, and would see no account: stop those first. A new one needs no new schema.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

_TABLES = ("balance", "transfer")

# Unset, or empty: no rows. Written with `= any(...)`, every row would parse the whole list again.
_NAMED = "account_id in (select unnest(string_to_array(current_setting('livebalance.accounts', true), ',')))"
_STARTED = """exists (
  select from unnest(string_to_array(current_setting('livebalance.prefixes', true), ',')) as p (prefix)
   where starts_with(account_id, left(prefix, -1)))"""


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    for table in _TABLES:
        execute(f"alter table {table} enable row level security")
        execute(f"alter table {table} force row level security")
        # The views of `reporting` read as their owner, which made the tables.
        execute(f"create policy owned on {table} to current_user using (true)")
        execute(f"create policy written on {table} to projector using (true)")
        execute(f"create policy operated on {table} for select to operator using (true)")
        execute(f"create policy named on {table} for select to gateway using ({_NAMED})")
    execute(f"create policy started on balance for select to gateway using ({_STARTED})")


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute("drop policy started on balance")
    for table in _TABLES:
        for policy in ("named", "operated", "written", "owned"):
            execute(f"drop policy {policy} on {table}")
        execute(f"alter table {table} no force row level security")
        execute(f"alter table {table} disable row level security")
