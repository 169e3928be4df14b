"""Quarantined records: an operator lists them and requests a replay, the lane's owner replays them."""

import json
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rows import ReplayOutcome, ReplayRow
from livebalance.wire.identity import AccountId, Lane, Offset
from livebalance.wire.kafka.headers import Headers, decode_headers
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import Millis

# --- for an operator ---


class QuarantineFilter(NamedTuple):
    """Selects quarantined records; a field that is None matches every record."""

    lane: Lane | None = None
    topic: str | None = None
    reason: str | None = None  # a part of the reason is enough
    state: str | None = None
    rejected_by: str | None = None


class QuarantinedRecord(NamedTuple):
    """A quarantined record without its value. `size` is the size of the value in bytes; None: it is null."""

    id: int
    topic: str
    partition: Lane
    offset: Offset
    kafka_time: Millis
    key: bytes | None
    size: int | None
    reason: str
    state: str
    rejected_by: str
    headers: Headers


_LIST = """
select id, topic, partition, source_offset, (extract(epoch from kafka_time) * 1000)::int8, key,
       octet_length(value), reason, state, rejected_by, header_bytes, headers::text
  from quarantine
 where ($1::int is null or partition = $1) and ($2::text is null or topic = $2)
   and ($3::text is null or strpos(reason, $3) > 0) and ($4::text is null or state = $4)
   and ($5::text is null or rejected_by = $5)
 order by id desc limit $6
"""


async def list_quarantined(
    connection: Connection, filter_: QuarantineFilter, limit: int
) -> list[QuarantinedRecord]:
    """Returns up to `limit` quarantined records, newest first."""
    rows = await connection.fetch(_LIST, *filter_, limit)
    return [QuarantinedRecord._make((*row[:-2], stored_headers(*row[-2:]))) for row in rows]


class StoredRecord(NamedTuple):
    """A quarantined record with its bytes."""

    id: int
    state: str
    rejected_by: str
    reason: str
    raw: RawRecord


_READ = """
select id, state, rejected_by, reason, topic, partition, source_offset,
       (extract(epoch from kafka_time) * 1000)::int8, key, value, header_bytes, headers::text
  from quarantine where id = $1
"""


async def read_quarantined(connection: Connection, id_: int) -> StoredRecord | None:
    """Returns a quarantined record, or None if there is no such record."""
    row = await connection.fetchrow(_READ, id_)
    if row is None:
        return None
    raw = RawRecord._make((*row[4:-2], stored_headers(*row[-2:]), None))
    return StoredRecord(row["id"], row["state"], row["rejected_by"], row["reason"], raw)


def stored_headers(encoded: bytes | None, text: str) -> Headers:
    """Returns the headers in the columns `header_bytes` and `headers`."""
    if encoded is not None:
        return decode_headers(encoded)
    pairs: list[tuple[str, str | None]] = json.loads(text)
    return [(name.encode(), None if value is None else bytes.fromhex(value)) for name, value in pairs]


_LOCK = "select id, state, value is null as empty from quarantine where id = any($1) order by id for update"
_REQUEST_REPLAY = """
with marked as (
  update quarantine set state = case rejected_by when 'recorder' then 'sent' else 'replay' end
   where id = any($1) returning *)
insert into intervention (what, lane, was, why)
select 'quarantine', partition, format('%s/%s@%s: %s', topic, partition, source_offset, reason), $2
  from marked order by id
"""


async def request_replay(connection: Connection, ids: Iterable[int], why: str) -> dict[int, str]:
    """Marks records for replay: all of them, or none.

    Transfers that a recorder rejected are marked as sent. The caller sends them before its transaction ends.

    Returns:
        The records that cannot be replayed, each with the reason. Empty: all are marked.
    """
    wanted = sorted(set(ids))
    async with connection.transaction():
        rows = {row["id"]: row for row in await connection.fetch(_LOCK, wanted)}
        rejected = {id_: reason for id_ in wanted if (reason := _rejection_reason(rows.get(id_)))}
        if not rejected:
            await connection.execute(_REQUEST_REPLAY, wanted, why)
    return rejected


def _rejection_reason(row: asyncpg.Record | None) -> str | None:
    if row is None:
        return "does not exist"
    if row["state"] not in ("held", "skipped"):
        return f"is {row['state']}, not held"
    return "has no value" if row["empty"] else None


# --- for the owner of a lane ---

_REQUESTED = """
select id, topic, partition, source_offset, (extract(epoch from kafka_time) * 1000)::int8, key, value,
       header_bytes, headers::text
  from quarantine where state = 'replay' and partition = any($1) order by id limit $2
"""


async def requested_replays(connection: Connection, lanes: list[Lane], limit: int) -> list[ReplayRow]:
    """Returns up to `limit` records of these lanes that are marked for replay, in the order of quarantine."""
    rows = await connection.fetch(_REQUESTED, lanes, limit)
    return [
        ReplayRow(row["id"], RawRecord._make((*row[1:-2], stored_headers(*row[-2:]), None))) for row in rows
    ]


_SETTLE = """
update quarantine q set state = x.state, reason = coalesce(x.reason, q.reason)
from unnest($1::int8[], $2::text[], $3::text[]) as x (id, state, reason)
where q.id = x.id and q.state = 'replay'
"""


async def settle_replays(connection: Connection, replayed: Sequence[tuple[int, ReplayOutcome]]) -> bool:
    """Writes the outcomes of replayed records.

    Returns:
        False if a record is no longer marked for replay. The caller must then roll the transaction back.
    """
    ids, outcomes = zip(*replayed, strict=True)
    states, reasons = zip(*outcomes, strict=True)
    return await connection.execute(_SETTLE, ids, states, reasons) == f"UPDATE {len(replayed)}"


_DISCARD = """
update quarantine set state = 'erased' where state in ('held', 'skipped', 'replay') and key = any($1)
"""


async def discard_erased(connection: Connection, erased: Iterable[AccountId]) -> None:
    """Sets the records of erased accounts to `erased`, so that they are not replayed after the erasure."""
    await connection.execute(_DISCARD, [account.encode() for account in erased])
