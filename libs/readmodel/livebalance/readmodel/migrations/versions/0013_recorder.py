"""Creates the table `recorder_lane` and the role `recorder`, which quarantines transfers too (decision 18).

Only adds: older releases of the recorder do not connect to Postgres.
"""

from alembic import op

from livebalance.readmodel.tables import intervention, metadata, quarantine, recorder_lane

revision = "0013"
down_revision = "0012"

# Roles belong to the server: another database of the same server may have created them before.
_ROLE = """
do $$ begin
  create role recorder login;
exception when duplicate_object or unique_violation then null;
end $$
"""

_SETTINGS = (
    "alter role recorder set idle_in_transaction_session_timeout = '5s'",
    "alter role recorder set tcp_user_timeout = '10s'",
    "alter role recorder set statement_timeout = '15s'",
)

_GRANTS = (
    "select, insert, update on recorder_lane to recorder",
    "insert on quarantine to recorder",
    "select (topic, partition, source_offset, kafka_time, held_at, rejected_by) on quarantine to recorder",
    "select (partitions) on projection to recorder",
    "select on recorder_lane to operator",
    "update (halted_why, continued, start_offset) on recorder_lane to operator",
    "insert (rejected_by) on quarantine to operator",
)

_INDEX = """
create unique index if not exists quarantine_of_recorder
    on quarantine (topic, partition, source_offset, kafka_time)
 where rejected_by = 'recorder'
"""

_VIEW = """
create or replace view reporting.quarantine_summary as
select topic, partition, reason, state, count(*) as records, min(source_offset) as first_offset,
       max(source_offset) as last_offset, min(kafka_time) as first_kafka_time,
       max(kafka_time) as last_kafka_time, rejected_by
  from public.quarantine group by topic, partition, reason, state, rejected_by
"""

_VIEW_COMMENT = (
    "One row per partition, reason, state and rejecting service of rejected records. Records in the state "
    "held need attention; another state is the outcome. Empty if no record was ever rejected"
)


def _execute(statement: str) -> None:
    op.get_bind().exec_driver_sql(statement)


def upgrade() -> None:
    _execute("alter table quarantine add column if not exists rejected_by text not null default 'projector'")
    _execute(_INDEX)
    metadata.create_all(op.get_bind(), [recorder_lane])
    for column in (quarantine.c.state, quarantine.c.rejected_by, intervention.c.what, intervention.c.became):
        op.alter_column(column.table.name, column.name, comment=column.comment)
    _execute(_VIEW)
    _execute(f"comment on view reporting.quarantine_summary is '{_VIEW_COMMENT}'")
    for column in (quarantine.c.state, quarantine.c.rejected_by):
        _execute(f"comment on column reporting.quarantine_summary.{column.name} is '{column.comment}'")
    for statement in (_ROLE, *_SETTINGS, *(f"grant {right}" for right in _GRANTS)):
        _execute(statement)


def downgrade() -> None:
    _execute("drop view reporting.quarantine_summary")
    _execute(_VIEW.replace(", rejected_by", ""))
    _execute("grant select on reporting.quarantine_summary to analyst")
    metadata.drop_all(op.get_bind(), [recorder_lane])
    _execute("drop index quarantine_of_recorder")
    _execute("revoke all on quarantine from recorder")
    _execute("revoke select (partitions) on projection from recorder")
    _execute("alter table quarantine drop column rejected_by")
