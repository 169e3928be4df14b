"""Compares the projection with its shadow: a second projection, replayed from Kafka in a database of its own.

Both are compared in the shadow's database, which has a schema `rebuild` for what is read from the projection
(decision 24). Rows travel between the databases as JSON, which keeps every digit of an amount.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rebuild.rows import AccountPair, LaneEnd, LaneSums, Moment, QuarantineDifferences
from livebalance.wire.identity import Lane

CHUNK = 1_000  # rows that are read at once

# What must be equal in each replay. Revisions and times of recording depend on how the topics interleave.
# An account that was erased, or never existed, has no row.
_ACCOUNTS = """
select b.account_id, b.lane, b.balance, b.scale, b.version, b.transfer_id, b.client_id, b.opening,
       b.posted_total, b.transfer_count, b.half_applied, b.drift, b.disputed_since is not null as disputed,
       t.*
  from public.balance b
 cross join lateral (
       select count(*) as listed, coalesce(sum(amount), 0) as listed_total,
              coalesce(sum(('x' || left(md5(concat_ws('|', transfer_id, amount, total,
                (extract(epoch from occurred_at) * 1000)::bigint)), 16))::bit(64)::bigint), 0)
                as listed_digest
         from public.transfer where account_id = b.account_id and revision > b.erased_revision) t
 where (b.balance is not null or b.transfer_count > 0 or t.listed > 0)
"""

_SCRATCH = f"""
drop schema if exists rebuild cascade;
create schema rebuild;
create view rebuild.account as {_ACCOUNTS};
create unlogged table rebuild.live as table rebuild.account with no data;
alter table rebuild.live add primary key (account_id);
create unlogged table rebuild.suspect (account_id text collate "C" primary key);
create unlogged table rebuild.live_quarantine (
  topic text, partition int, source_offset bigint, waits bool, primary key (topic, partition, source_offset));
"""


async def is_foreign(shadow: Connection) -> bool:
    """Returns whether a database has tables but is not a shadow: it must not be changed."""
    return bool(
        await shadow.fetchval(
            "select to_regclass('public.balance') is not null and to_regnamespace('rebuild') is null"
        )
    )


async def reserve(shadow: Connection) -> None:
    """Marks a database as a shadow, before its migrations run."""
    await shadow.execute("create schema if not exists rebuild")


async def create_scratch(shadow: Connection) -> None:
    """Creates the tables of a comparison, empty."""
    async with shadow.transaction():
        await shadow.execute(_SCRATCH)


async def read_lanes(connection: Connection) -> dict[Lane, LaneEnd]:
    """Returns the lanes. There are none before a projector has created the projection."""
    rows = await connection.fetch(
        "select lane, transfers_next, balances_next, from_start, halted_why, transfers_topic_id,"
        " balances_topic_id from lane order by lane"
    )
    return {row[0]: LaneEnd(*row[1:]) for row in rows}


async def read_moment(live: Connection) -> Moment:
    """Returns the state of the projection in the snapshot of the connection's transaction."""
    snapshot = await live.fetchval("select pg_snapshot_xmin(pg_current_snapshot())::text")
    return Moment(await read_lanes(live), snapshot)


# --- rows on their way


async def json_chunks(connection: Connection, query: str, *arguments: object) -> AsyncIterator[str]:
    """Yields the rows of a query as JSON arrays of at most `CHUNK` objects. Needs a transaction."""
    cursor = await connection.cursor(f"select to_jsonb(q)::text from ({query}) q", *arguments)
    while rows := await cursor.fetch(CHUNK):
        yield f"[{','.join(row[0] for row in rows)}]"


async def _id_chunks(connection: Connection, query: str, *arguments: object) -> AsyncIterator[list[str]]:
    cursor = await connection.cursor(query, *arguments)
    while rows := await cursor.fetch(CHUNK):
        yield [row[0] for row in rows]


def suspects(shadow: Connection) -> AsyncIterator[list[str]]:
    """Yields the accounts that are to be compared or, after `compare`, those that differ."""
    return _id_chunks(shadow, "select account_id from rebuild.suspect order by account_id")


# --- the comparison

# Finds all rows that were written in transactions that the earlier snapshot did not see. A row that was
# written long before may look like these when its transaction id is used again. That does no harm.
_WRITTEN = "select account_id from balance where $1::text is null or age(xmin) <= age($1::text::xid8::xid)"
_ADD_SUSPECTS = "insert into rebuild.suspect select unnest($1::text[]) on conflict do nothing"
_ADD_ACCOUNTS = """
insert into rebuild.live
select * from jsonb_populate_recordset(null::rebuild.live, $1::text::jsonb) on conflict do nothing
"""
_QUARANTINED = """
select topic, partition, source_offset, bool_or(state in ('held', 'replay')) as waits
  from quarantine where rejected_by = 'projector' group by topic, partition, source_offset
"""
_ADD_QUARANTINED = """
insert into rebuild.live_quarantine
select * from jsonb_populate_recordset(null::rebuild.live_quarantine, $1::text::jsonb)
"""


async def copy_accounts(live: Connection, shadow: Connection, since: str | None) -> None:
    """Copies what is compared from the projection into the shadow. Both connections are in a transaction.

    Args:
        live: The projection, in the snapshot to be compared.
        shadow: The shadow.
        since: Snapshot of the previous comparison. Only accounts that differed then, or were written since,
            are copied. None: all are.
    """
    async for ids in _id_chunks(live, _WRITTEN, since):
        await shadow.execute(_ADD_SUSPECTS, ids)
    async for ids in suspects(shadow):
        await shadow.execute("delete from rebuild.live where account_id = any($1)", ids)
        async for rows in json_chunks(live, f"{_ACCOUNTS} and b.account_id = any($1)", ids):
            await shadow.execute(_ADD_ACCOUNTS, rows)
    await shadow.execute("truncate rebuild.live_quarantine")
    async for rows in json_chunks(live, _QUARANTINED):
        await shadow.execute(_ADD_QUARANTINED, rows)


_ADD_MISSING = """
insert into rebuild.suspect
select account_id from balance b
 where not exists (select from rebuild.live l where l.account_id = b.account_id) on conflict do nothing
"""
_DROP_EQUAL = """
delete from rebuild.suspect x
 where (select to_jsonb(l) from rebuild.live l where l.account_id = x.account_id) is not distinct from
       (select to_jsonb(a) from rebuild.account a where a.account_id = x.account_id)
"""


async def compare(shadow: Connection) -> int:
    """Leaves only accounts that differ among the suspects, and returns their number.

    The shadow must be at the offsets of the copied accounts.
    """
    await shadow.execute(_ADD_MISSING)
    await shadow.execute(_DROP_EQUAL)
    return int(await shadow.fetchval("select count(*) from rebuild.suspect"))


_PAIRS = """
select x.account_id, to_jsonb(l)::text, to_jsonb(a)::text
  from rebuild.suspect x
  left join rebuild.live l using (account_id)
  left join lateral (select * from rebuild.account a where a.account_id = x.account_id) a on true
 order by x.account_id
"""


async def different_accounts(shadow: Connection) -> AsyncIterator[AccountPair]:
    """Yields the accounts that differ. Needs a transaction."""
    cursor = await shadow.cursor(_PAIRS)
    while rows := await cursor.fetch(CHUNK):
        for row in rows:
            yield AccountPair(*row)


# Records that only the shadow rejects, and transfers that wait in the projection's quarantine although the
# shadow applies them. Other balances may have been compacted since: then the shadow has not read them.
MISSING_RECORDS = """
select q.* from quarantine q
  left join rebuild.live_quarantine l using (topic, partition, source_offset)
 where l.topic is null and q.rejected_by = 'projector'
"""
APPLIED_RECORDS = """
select l.topic, l.partition, l.source_offset from rebuild.live_quarantine l
  left join quarantine q using (topic, partition, source_offset)
 where q.topic is null and l.waits and l.topic = $1
"""


async def different_records(shadow: Connection, transfers_topic: str) -> QuarantineDifferences:
    """Returns how the quarantines differ."""
    missing = await shadow.fetchval(f"select count(*) from ({MISSING_RECORDS}) q")
    applied = await shadow.fetchval(f"select count(*) from ({APPLIED_RECORDS}) q", transfers_topic)
    return QuarantineDifferences(missing, applied)


_SUMS = """
select lane, count(*), sum(balance)::text, sum(transfer_count)::int8, sum(posted_total)::text,
       count(*) filter (where {disputed})
  from {table} where balance is not null or transfer_count > 0 group by lane order by lane
"""


async def lane_sums(shadow: Connection) -> tuple[dict[Lane, LaneSums], dict[Lane, LaneSums]]:
    """Returns counts and sums of the accounts as copied from the projection, and those of the shadow."""
    queries: Sequence[str] = (
        _SUMS.format(table="rebuild.live", disputed="disputed"),
        _SUMS.format(table="public.balance", disputed="disputed_since is not null"),
    )
    live, replayed = [{row[0]: _sums(row) for row in await shadow.fetch(query)} for query in queries]
    return live, replayed


def _sums(row: Any) -> LaneSums:
    return LaneSums(row[1], row[2] or "0", row[3], row[4], row[5])
