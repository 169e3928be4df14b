"""Reads the state of the projection for an operator. Nothing here waits for a lock or writes."""

from livebalance.readmodel.connection import Connection, milliseconds
from livebalance.readmodel.operator.status_rows import (
    BegunEpoch,
    LaneStatus,
    ListedRevocation,
    ProjectionStatus,
    ServerStatus,
    ServiceStatus,
)
from livebalance.wire.timestamp import Millis

# What the commands of an operator read and write. The role `operator` has these rights.
RIGHTS = {
    "select": (
        "alembic_version",
        "balance",
        "intervention",
        "lane",
        "projection",
        "quarantine",
        "recorder_lane",
        "revocation",
        "transfer",
    ),
    "insert": ("intervention", "quarantine", "revocation"),
}


_SERVER = f"""
select current_setting('server_version'), session_user::text, {milliseconds("clock_timestamp()")},
       pg_is_in_recovery()
"""
# The role may insert into some columns only. A table that does not exist is no missing right.
_MISSING = """
select format('%s %s', r.verb, r.name) from unnest($1::text[], $2::text[]) as r (verb, name)
 where not has_any_column_privilege(to_regclass('public.' || r.name)::oid, r.verb) order by 1
"""
_MAY_READ_MIGRATION = (
    "select to_regclass('public.alembic_version') is not null"
    " and has_table_privilege(to_regclass('public.alembic_version'), 'select')"
)
# A superuser is a member of each role, and an operator is none of these.
_SERVICES = """
select r.name, coalesce(nullif(a.application_name, ''), a.usename), count(*)::int4
  from pg_stat_activity a join pg_roles u on u.oid = a.usesysid and not u.rolsuper,
       unnest(array['gateway', 'projector', 'recorder']) as r (name)
 where a.datname = current_database() and pg_has_role(a.usesysid, r.name, 'member')
 group by 1, 2 order by 1, 2
"""
_SERVICE_ROLES = "select count(*) = 3 from pg_roles where rolname in ('gateway', 'projector', 'recorder')"


async def read_server(connection: Connection) -> ServerStatus:
    """Returns the state of the server. It needs no rights and no schema."""
    row = await connection.fetchrow(_SERVER)
    assert row is not None
    version, role, now, standby = row
    pairs = [(verb, name) for verb, names in RIGHTS.items() for name in names]
    verbs, names = zip(*pairs, strict=True)
    missing = [row[0] for row in await connection.fetch(_MISSING, verbs, names)]
    migration = None
    if await connection.fetchval(_MAY_READ_MIGRATION):
        migration = await connection.fetchval("select version_num from alembic_version")
    services = await connection.fetch(_SERVICES) if await connection.fetchval(_SERVICE_ROLES) else []
    return ServerStatus(
        version, role, Millis(now), standby, migration, missing, [ServiceStatus(*row) for row in services]
    )


_LANES = f"""
select l.lane, l.owner, l.generation, l.transfers_next, l.balances_next, {milliseconds("l.as_of")},
       l.halted_why, r.halted_why, l.disputed, l.drifting, l.unverified, l.transfers_topic_id,
       l.balances_topic_id
  from lane l left join recorder_lane r using (lane) order by l.lane
"""
_PROJECTION = """
select t.epoch, t.known, t.partitions,
       (select count(*) from quarantine where state in ('held', 'skipped', 'replay'))
  from truth t
"""


async def read_status(connection: Connection) -> ProjectionStatus | None:
    """Returns the state of the projection, or None if no projector has written to this database yet."""
    row = await connection.fetchrow(_PROJECTION)
    if row is None:
        return None
    epoch, known, partitions, quarantined = row
    lanes = [LaneStatus(*lane) for lane in await connection.fetch(_LANES)]
    return ProjectionStatus(epoch, known, partitions, quarantined, lanes)


_EPOCHS = f"""
select {milliseconds("at")}, by, lane, was, became, why from intervention
 where what = 'epoch' or (what = 'lane' and became is not null) order by id desc limit $1
"""


async def list_epoch_changes(connection: Connection, limit: int) -> list[BegunEpoch]:
    """Returns the newest epochs that operators began, newest first."""
    return [BegunEpoch(*row) for row in await connection.fetch(_EPOCHS, limit)]


_REVOCATIONS = f"""
select id, {milliseconds("at")}, subject, login, account_id, by, why from revocation
 where ($1::text is null or subject = $1) and ($2::text is null or login = $2)
   and ($3::text is null or account_id = $3)
 order by at desc, id desc limit $4
"""


async def list_revocations(
    connection: Connection, subject: str | None, login: str | None, account: str | None, limit: int
) -> list[ListedRevocation]:
    """Returns the newest revocations that match all arguments that are not None, newest first."""
    rows = await connection.fetch(_REVOCATIONS, subject, login, account, limit)
    return [ListedRevocation(*row) for row in rows]
