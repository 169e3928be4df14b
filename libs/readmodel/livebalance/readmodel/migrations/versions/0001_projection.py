"""Creates the tables of the projection, the roles, and the view that tells whether the server is known."""

from alembic import op

from livebalance.readmodel.tables import balance, lane, metadata, projection, quarantine, transfer

revision = "0001"
down_revision = None

_TABLES = [balance, transfer, lane, projection, quarantine]

# Roles belong to the server: another database of the same server may have created them before.
_ROLES = """
do $$
declare role text;
begin
  foreach role in array array['owner', 'projector', 'gateway', 'operator', 'analyst'] loop
    begin
      execute format('create role %I login', role);
    exception when duplicate_object or unique_violation then null;
    end;
  end loop;
end $$;
"""

# A process that is stopped while it holds locks loses them after these times (docs/guarantees.md#locks).
_SETTINGS = """
alter role projector set idle_in_transaction_session_timeout = '5s';
alter role projector set tcp_user_timeout = '10s';
alter role gateway set default_transaction_read_only = on;
alter role gateway set statement_timeout = '5s';
alter role analyst set default_transaction_read_only = on;
alter role analyst set statement_timeout = '30s';
"""

# After a failover pg_control_checkpoint() still returns the old timeline; the name of the WAL file is new.
_VIEWS = """
create view server_identity as
select (select system_identifier::text from pg_control_system()) as system_identifier,
       case when pg_is_in_recovery() then 'standby'
            else left(pg_walfile_name(pg_current_wal_lsn()), 8) end as timeline;

create view truth as
select p.epoch, p.partitions,
       p.system_identifier = s.system_identifier and p.timeline = s.timeline as known
from projection p, server_identity s;

comment on view truth is 'The epoch, and whether this server is the one the projection was written to';
"""

_GRANTS = """
grant select, insert, update on balance, lane, projection to projector;
grant select, insert, delete on transfer to projector;
grant select, insert on quarantine to projector;
grant select on truth, server_identity to projector;
grant select on balance, transfer, lane, projection, truth to gateway;
grant select on all tables in schema public to operator;
grant update (state) on quarantine to operator;
"""


def upgrade() -> None:
    metadata.create_all(op.get_bind(), _TABLES)
    op.get_bind().exec_driver_sql(_ROLES)
    for statements in (_SETTINGS, _VIEWS, _GRANTS):  # the driver runs one statement at a time
        op.get_bind().exec_driver_sql(f"do $$ begin {statements} end $$")


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop view truth, server_identity")
    metadata.drop_all(op.get_bind(), _TABLES)
