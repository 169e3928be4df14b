"""Records put aside: an operator sees and marks them, the owner of their lane applies what is marked."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg

from livebalance.readmodel.projector_writes import Connection
from livebalance.readmodel.rows import MarkedRow, ReplayOutcome
from livebalance.wire.identity import AccountId, Lane, Offset
from livebalance.wire.timestamp import Millis

# --- an operator ---


class QuarantineFilter(NamedTuple):
    """Which records; None: whatever it is."""

    lane: Lane | None = None
    topic: str | None = None
    reason: str | None = None  # or a part of it
    state: str | None = None


class QuarantinedRecord(NamedTuple):
    """A record in quarantine, without its value. `size`: of that, in bytes; None: it is null."""

    id: int
    topic: str
    partition: Lane
    offset: Offset
    kafka_time: Millis
    key: bytes | None
    size: int | None
    reason: str
    state: str


_LIST = """
select id, topic, partition, source_offset, (extract(epoch from kafka_time) * 1000)::int8, key,
       octet_length(value), reason, state
  from quarantine
 where ($1::int is null or partition = $1) and ($2::text is null or topic = $2)
   and ($3::text is null or strpos(reason, $3) > 0) and ($4::text is null or state = $4)
 order by id desc limit $5
"""


async def held(connection: Connection, wanted: QuarantineFilter, limit: int) -> list[QuarantinedRecord]:
    """The newest of them first."""
    return [QuarantinedRecord(*row) for row in await connection.fetch(_LIST, *wanted, limit)]


_LOCK = "select id, state, value is null as empty from quarantine where id = any($1) order by id for update"
_MARK = """
with marked as (update quarantine set state = 'replay' where id = any($1) returning *)
insert into intervention (what, lane, was, why)
select 'quarantine', partition, format('%s/%s@%s: %s', topic, partition, source_offset, reason), $2
  from marked order by id
"""


async def mark(connection: Connection, ids: Iterable[int], why: str) -> dict[int, str]:
    """To be applied now. All of them or none: returns those that cannot be, each with the reason."""
    wanted = sorted(set(ids))
    async with connection.transaction():
        found = {row["id"]: row for row in await connection.fetch(_LOCK, wanted)}
        unfit = {id_: reason for id_ in wanted if (reason := _unfit(found.get(id_)))}
        if not unfit:
            await connection.execute(_MARK, wanted, why)
    return unfit


def _unfit(row: asyncpg.Record | None) -> str | None:
    if row is None:
        return "is not there"
    if row["state"] != "held":
        return f"is {row['state']}, not held"
    return "has no value" if row["empty"] else None


# --- the owner of a lane ---

_MARKED = """
select id, topic, partition, source_offset, (extract(epoch from kafka_time) * 1000)::int8, key, value
  from quarantine where state = 'replay' and partition = any($1) order by id limit $2
"""


async def marked(connection: Connection, lanes: list[Lane], limit: int) -> list[MarkedRow]:
    """Of these lanes, in the order in which they were put aside."""
    return [MarkedRow(*row) for row in await connection.fetch(_MARKED, lanes, limit)]


_SETTLE = """
update quarantine q set state = x.state, reason = coalesce(x.reason, q.reason)
from unnest($1::int8[], $2::text[], $3::text[]) as x (id, state, reason)
where q.id = x.id and q.state = 'replay'
"""


async def settle(connection: Connection, replayed: Sequence[tuple[int, ReplayOutcome]]) -> bool:
    """What became of marked records. False: one is not marked any more, and all is to be rolled back."""
    ids, outcomes = zip(*replayed, strict=True)
    states, reasons = zip(*outcomes, strict=True)
    return await connection.execute(_SETTLE, ids, states, reasons) == f"UPDATE {len(replayed)}"


_FORGET = "update quarantine set state = 'erased' where state in ('held', 'replay') and key = any($1)"


async def forget(connection: Connection, erased: Iterable[AccountId]) -> None:
    """What was put aside of accounts before they were erased is not to be applied after it."""
    await connection.execute(_FORGET, [account.encode() for account in erased])
