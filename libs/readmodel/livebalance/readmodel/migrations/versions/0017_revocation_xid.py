"""Adds the transaction of each revocation, so that gateways find those that commit late (decision 28).

Only adds: older releases read and write the other columns.
"""

from alembic import op

from livebalance.readmodel.tables import revocation

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    execute = op.get_bind().exec_driver_sql
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
