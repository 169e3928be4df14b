"""Keeps which transfers of an account are of a former topic, and the transaction of each revocation.

The offsets of a former topic are not those of the topic now. By its transaction, gateways find a revocation
that is committed late (decision 29). Only adds: older releases leave both columns as they are.
"""

from alembic import op

from livebalance.readmodel.tables import balance, revocation

revision = "0016"
down_revision = "0015"

_MOVED = balance.c.moved_revision


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute(f"alter table balance add column if not exists {_MOVED.name} bigint not null default 0")
    op.alter_column("balance", _MOVED.name, comment=_MOVED.comment)
    execute(f"grant update ({_MOVED.name}) on balance to operator")
    # The default is not volatile, so existing rows are not rewritten: they get the id of this transaction.
    # No older transaction can commit a revocation after it, because this statement locks the table.
    execute("alter table revocation add column if not exists xid xid8 not null default pg_current_xact_id()")
    op.alter_column("revocation", "xid", comment=revocation.c.xid.comment)
    execute("create index if not exists revocation_xid on revocation (xid)")
    execute("grant select on server_identity to gateway")


def downgrade() -> None:
    execute = op.get_bind().exec_driver_sql
    execute("revoke select on server_identity from gateway")
    execute("alter table revocation drop column xid")
    execute(f"alter table balance drop column {_MOVED.name} cascade")
