"""Creates the table `revocation`: an operator writes revocations, gateways read them (decision 12)."""

from alembic import op

from livebalance.readmodel.tables import metadata, revocation

revision = "0003"
down_revision = "0002"

_GRANTS = (
    "grant insert (subject, login, account_id, why) on revocation to operator",
    "grant select on revocation to operator, gateway",
)


def upgrade() -> None:
    metadata.create_all(op.get_bind(), [revocation])
    for statement in _GRANTS:
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    metadata.drop_all(op.get_bind(), [revocation])
