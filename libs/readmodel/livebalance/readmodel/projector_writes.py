"""Statements that a projector writes with: each takes many rows as arrays, with `unnest` (decision 9)."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import asyncpg

from livebalance.readmodel.rows import (
    BalanceRow,
    BatchRows,
    LaneMove,
    LaneRow,
    LaneStart,
    ListedTransfer,
    Projection,
    QuarantineRow,
    ServerIdentity,
    StoredBalance,
    TopicIds,
    TransferRow,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset, TransferId
from livebalance.wire.money import parse_money

# Settings of the connections. All statements find rows by their keys. A generic plan saves planning for each
# batch, which takes longer than running it. Without scans, a plan made while a table was small stays good.
SETTINGS = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def _at(name: str) -> str:
    """Returns SQL that converts ms to timestamptz, exactly: `to_timestamp` rounds, as it takes a double."""
    return f"(to_timestamp({name} / 1000) + ({name} % 1000) * interval '1 millisecond')"


def milliseconds(name: str) -> str:
    """Returns SQL that converts timestamptz to ms."""
    return f"(extract(epoch from {name}) * 1000)::bigint"


def _arrays(types: str, first: int = 1) -> str:
    return ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types.split(), first))


def _literals(types: str, first: int) -> str:
    """Returns SQL that converts the results of `_texts` to arrays."""
    return ", ".join(f"${number}::text::{kind}[]" for number, kind in enumerate(types.split(), first))


def _texts(rows: Sequence[tuple[Any, ...]], types: str) -> Iterable[str]:
    """Returns each column as the text of an array.

    asyncpg calls two functions in Python for each element of an array (decision 39). It does not for a text.
    """
    kinds = types.split()
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return map(_array_text, columns, kinds)


def _array_text(column: Sequence[object], kind: str) -> str:
    if kind != "text":
        return "{" + ",".join(["NULL" if value is None else str(value) for value in column]) + "}"
    return "{" + ",".join(["NULL" if value is None else _quoted(str(value)) for value in column]) + "}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{text}"'


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> Iterable[Sequence[Any]]:
    return zip(*rows, strict=True) if rows else [()] * count


def _count(status: str) -> int:
    """Returns the number of rows in a command tag, as "UPDATE 3" or "INSERT 0 3"."""
    return int(status.rpartition(" ")[2])


async def set_numeric_codec(connection: Connection) -> None:
    """Lets a new connection return amounts as Money, with their scale."""
    await connection.set_type_codec(
        "numeric", schema="pg_catalog", encoder=str, decoder=parse_money, format="text"
    )


# --- lanes ---

_CLAIM = """
update lane set generation = generation + 1, owner = $2,
                transfers_topic_id = coalesce(transfers_topic_id, $3),
                balances_topic_id = coalesce(balances_topic_id, $4),
                lifecycle_topic_id = coalesce(lifecycle_topic_id, $5),
                totals_generation = case when totals_generation = generation then generation + 1 end,
                batches = batches + case when batches_generation = generation then 0 else 1 end,
                batches_generation = generation + 1
where lane = $1
returning lane, generation, epoch, transfers_next, balances_next, transfers_last, transfers_fingerprint,
          balances_last, balances_fingerprint, halted_why, from_start, transfers_topic_id, balances_topic_id,
          lifecycle_next, lifecycle_topic_id, batches
"""


_UNKNOWN_IDS = TopicIds()


async def claim_lane(
    connection: Connection, lane: Lane, owner: str, topic_ids: TopicIds = _UNKNOWN_IDS
) -> LaneRow:
    """Makes `owner` the lane's owner and increases its generation, which fences the previous owner.

    Waits for the lock of the lane's row (docs/guarantees.md#locks). Stores those of `topic_ids` that the row
    lacks.

    Raises:
        asyncpg.LockNotAvailableError: The lock was not released within the connection's `lock_timeout`.
    """
    row = await connection.fetchrow(_CLAIM, lane, owner, *topic_ids)
    assert row is not None, "lanes are created before they are claimed"
    return LaneRow(*row)


# The xmax of a locked row is the transaction that holds the lock.
_TERMINATE = """
select pg_terminate_backend(a.pid)
from lane join pg_locks k on k.locktype = 'transactionid' and k.transactionid = lane.xmax and k.granted
join pg_stat_activity a on a.pid = k.pid and a.usename = current_user
where lane.lane = $1 and a.pid <> pg_backend_pid()
"""


async def terminate_lock_holder(connection: Connection, lane: Lane) -> int:
    """Terminates the backend that holds the lock of the lane's row, if it belongs to the same role.

    Returns:
        The number of terminated backends, 0 or 1.
    """
    return len(await connection.fetch(_TERMINATE, lane))


async def any_lane_continued(connection: Connection, halted: list[Lane]) -> bool:
    """Returns whether an operator has let one of these halted lanes continue."""
    query = "select exists (select from lane where lane = any($1) and halted_why is null)"
    return bool(await connection.fetchval(query, halted))


_LANE_TYPES = (
    "int int8 text int8 int8 int8 int8 int8 bytea int8 bytea int8 int8 text int8 int8 int8 int8 int8"
)
_MOVE = f"""
update lane l set
  transfers_next = m.transfers_to, balances_next = m.balances_to,
  transfers_last = coalesce(m.transfers_last, l.transfers_last),
  transfers_fingerprint = coalesce(m.transfers_fingerprint, l.transfers_fingerprint),
  balances_last = coalesce(m.balances_last, l.balances_last),
  balances_fingerprint = coalesce(m.balances_fingerprint, l.balances_fingerprint),
  last_event_at = greatest(l.last_event_at, {_at("m.event_ms")}),
  as_of = greatest(l.as_of, {_at("m.as_of_ms")}),
  halted_why = m.halted_why,
  disputed = l.disputed + m.disputed, drifting = l.drifting + m.drifting,
  unverified = l.unverified + m.unverified,
  lifecycle_next = coalesce(m.lifecycle_next, l.lifecycle_next),
  batches = l.batches + m.batches
from unnest({_arrays(_LANE_TYPES)})
  as m (lane, generation, epoch, transfers_from, balances_from, transfers_to, balances_to, transfers_last,
        transfers_fingerprint, balances_last, balances_fingerprint, event_ms, as_of_ms, halted_why,
        disputed, drifting, unverified, lifecycle_next, batches)
where l.lane = m.lane and l.generation = m.generation and l.epoch = m.epoch
  and l.transfers_next = m.transfers_from and l.balances_next = m.balances_from
"""


async def move_lanes(connection: Connection, moves: Sequence[LaneMove]) -> int:
    """Moves lanes without writing a batch (docs/guarantees.md#fence).

    Returns:
        The number of lanes moved. If it is less than `len(moves)`, another process owns a lane.
    """
    return _count(await connection.execute(_MOVE, *_columns(moves, len(LaneMove._fields))))


# --- a batch ---

_COLUMNS = [
    "revision",
    "lane",
    "balance",
    "scale",
    "currency",
    "version",
    "transfer_id",
    "client_id",
    "opening",
    "posted_total",
    "transfer_count",
    "half_applied",
    "drift",
    "unverified_since",
    "disputed_since",
    "disputed_why",
    "transfers_offset",
    "balances_offset",
    "recorded_at",
    "opening_known",
    "erased_transfers_before",
    "erased_balances_before",
    "erased_revision",
    "half_applied_since",
    "erased_offset",
]
_BALANCE_TYPES = (
    "text int8 int8 int numeric int2 text int8 text text numeric numeric int8 numeric numeric int8 int8 text"
    " int8 int8 int8 bool int8 int8 int8 int8 int8"
)
_TRANSFER_TYPES = "text int8 text numeric numeric int8 int8 int int8"
_TIMES = {"unverified_since", "disputed_since", "recorded_at", "half_applied_since"}


def _value(column: str) -> str:
    return _at(f"x.{column}") if column in _TIMES else f"x.{column}"


def _new_value(column: str) -> str:
    if column == "erased_revision":
        return "greatest(b.erased_revision, x.erased_revision)"
    return _value(column)


_FIRST_BALANCE = 1 + len(LaneMove._fields)  # numbers of the parameters that follow
_FIRST_TRANSFER = _FIRST_BALANCE + len(BalanceRow._fields)
_TOPIC = _FIRST_TRANSFER + len(TransferRow._fields)

# A CTE runs after the CTEs that it selects from: nothing is written before the fence is checked, and no
# transfer is inserted before the erased transfers that it replaces are deleted.
_WRITE = f"""
with moved as ({_MOVE} returning l.lane),
fence as materialized (select count(*) = cardinality($1) as holds from moved),
account as materialized (
  select x.* from fence, unnest({_literals(_BALANCE_TYPES, _FIRST_BALANCE)})
    as x (account_id, was, {", ".join(_COLUMNS)})
   where fence.holds),
changed as (
  update balance b set {", ".join(f"{column} = {_new_value(column)}" for column in _COLUMNS)},
                       updated_at = now()
    from account x where b.account_id = x.account_id and b.revision = x.was returning 1),
opened as (
  insert into balance (account_id, {", ".join(_COLUMNS)})
  select x.account_id, {", ".join(map(_value, _COLUMNS))} from account x where x.was = 0
  on conflict (account_id) do nothing returning 1),
posted as materialized (
  select x.* from fence, unnest({_literals(_TRANSFER_TYPES, _FIRST_TRANSFER)})
    as x (account_id, revision, transfer_id, amount, total, occurred_ms, recorded_ms, lane, source_offset)
   where fence.holds),
replaced as (
  delete from transfer t
   using posted x left join balance b on b.account_id = x.account_id
         left join (select * from account where erased_revision > 0) a on a.account_id = x.account_id
   where ${_TOPIC + 1}::bool and t.account_id = x.account_id and t.transfer_id = x.transfer_id
     and t.revision <= greatest(b.erased_revision, a.erased_revision)
  returning 1),
listed as (
  insert into transfer (account_id, revision, transfer_id, amount, total, occurred_at, recorded_at, topic,
                        lane, source_offset)
  select x.account_id, x.revision, x.transfer_id, x.amount, x.total, {_at("x.occurred_ms")},
         {_at("x.recorded_ms")}, ${_TOPIC}, x.lane, x.source_offset
    from posted x, (select count(*) as count from replaced) gone
   where gone.count >= 0
  on conflict (account_id, transfer_id) do nothing returning 1)
select (select count(*) from moved), (select count(*) from changed) + (select count(*) from opened),
       (select count(*) from listed)
"""


class WriteResult(NamedTuple):
    """Rows written of each kind. If they are fewer than in the batch, the caller rolls back."""

    lanes: int  # fewer: another process owns a lane, and no other row was written
    balances: int  # fewer: an account is not at the revision at which it was read
    transfers: int  # fewer: a transfer is already listed


async def write_batch(connection: Connection, topic: str, batch: BatchRows) -> WriteResult:
    """Writes a batch, except its quarantined and replayed records, in one round trip behind the fence.

    Args:
        connection: A connection with an open transaction.
        topic: The topic of the transfers.
        batch: The rows.
    """
    row = await connection.fetchrow(
        _WRITE,
        *_columns(batch.moves, len(LaneMove._fields)),
        *_texts(batch.balances, _BALANCE_TYPES),
        *_texts(batch.transfers, _TRANSFER_TYPES),
        topic,
        batch.replaces_erased,
    )
    assert row is not None
    return WriteResult(*row)


_QUARANTINE = f"""
insert into quarantine (topic, partition, source_offset, key, value, header_bytes, kafka_time, reason, state)
select x.topic, x.partition, x.source_offset, x.key, x.value, x.header_bytes, {_at("x.kafka_ms")}, x.reason,
       x.state
from unnest({_arrays("text int int8 bytea bytea bytea int8 text text")})
  as x (topic, partition, source_offset, key, value, header_bytes, kafka_ms, reason, state)
"""


async def insert_quarantined(connection: Connection, rows: Sequence[QuarantineRow]) -> None:
    """Inserts rejected records into the quarantine."""
    await connection.execute(_QUARANTINE, *_columns(rows, len(QuarantineRow._fields)))


# --- state that the fold continues from ---

_STORED = f"""
select account_id, revision, lane, balance, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, {milliseconds("unverified_since")},
       {milliseconds("disputed_since")}, disputed_why, transfers_offset, balances_offset,
       {milliseconds("recorded_at")}, opening_known, erased_transfers_before, erased_balances_before,
       {milliseconds("half_applied_since")}, erased_offset
from balance
"""


async def stored_balances(connection: Connection, accounts: list[AccountId]) -> list[StoredBalance]:
    """Returns the accounts that exist, in any order."""
    rows = await connection.fetch(f"{_STORED} where account_id = any($1)", accounts)
    return [StoredBalance(*row) for row in rows]


_LISTED = f"""
select t.account_id, t.transfer_id, t.amount, t.total, {milliseconds("t.occurred_at")}
from unnest($1::text[], $2::text[]) as x (account_id, transfer_id)
join transfer t on t.account_id = x.account_id and t.transfer_id = x.transfer_id
left join balance b on b.account_id = x.account_id
where t.revision > coalesce(b.erased_revision, 0)
"""

TransferKey = tuple[AccountId, TransferId]


async def listed_transfers(
    connection: Connection, keys: Sequence[TransferKey]
) -> dict[TransferKey, ListedTransfer]:
    """Returns those of the transfers that are listed."""
    rows = await connection.fetch(_LISTED, *_columns(keys, 2))
    return {(account, id_): ListedTransfer(amount, at, total) for account, id_, amount, total, at in rows}


_LISTED_SINCE = f"""
select t.account_id, t.revision, t.transfer_id, t.amount::text, t.total::text,
       {milliseconds("t.occurred_at")}, {milliseconds("t.recorded_at")}, t.lane, t.source_offset
from unnest($1::text[], $2::int8[]) as x (account_id, first)
join balance b on b.account_id = x.account_id
join transfer t on t.account_id = x.account_id and t.revision > greatest(b.erased_revision, b.moved_revision)
where t.source_offset >= x.first order by t.source_offset
"""


async def listed_since(connection: Connection, since: Mapping[AccountId, Offset]) -> list[TransferRow]:
    """Returns the listed transfers from an offset of each account on, in the order of offsets.

    Leaves out those of a former topic, whose offsets are not those of this topic.
    """
    rows = await connection.fetch(_LISTED_SINCE, list(since), list(since.values()))
    return [TransferRow(*row) for row in rows]


# --- the projection itself ---


async def read_server_identity(connection: Connection) -> ServerIdentity:
    """Returns the identity of the Postgres server that answers."""
    row = await connection.fetchrow("select system_identifier, timeline from server_identity")
    assert row is not None
    return ServerIdentity(*row)


async def read_projection(connection: Connection) -> Projection | None:
    """Returns the projection, or None before a projector has created it."""
    row = await connection.fetchrow("select epoch, known, partitions from truth")
    return None if row is None else Projection(*row)


async def create_projection(
    connection: Connection, epoch: Epoch, server: ServerIdentity, starts: Sequence[LaneStart]
) -> None:
    """Creates the projection and its lanes, unless another process has created them before."""
    async with connection.transaction():
        inserted = await connection.execute(
            "insert into projection (epoch, system_identifier, timeline, partitions) values ($1, $2, $3, $4)"
            " on conflict (one) do nothing",
            epoch,
            *server,
            len(starts),
        )
        if _count(inserted):
            await connection.executemany(
                "insert into lane (lane, transfers_next, balances_next, generation, epoch, from_start,"
                " totals_generation) values ($1, $2, $3, 0, $5, $4, 0)",
                [(*start, epoch) for start in starts],
            )


def new_epoch() -> Epoch:
    """Returns a random epoch. Epochs have no order, so that nobody compares them."""
    return Epoch(secrets.token_hex(8))


_CHANGE_EPOCH = """
update projection set epoch = $2, system_identifier = $3, timeline = $4 where epoch = $1
"""


async def change_epoch(connection: Connection, old: Epoch, new: Epoch, server: ServerIdentity) -> bool:
    """Replaces the epoch `old` by `new`, and the known server by `server` (docs/guarantees.md#epoch).

    Returns:
        False if `old` is no longer the epoch.
    """
    async with connection.transaction():
        if _count(await connection.execute(_CHANGE_EPOCH, old, new, *server)) == 0:
            return False
        await connection.execute("update lane set epoch = $1, as_of = null", new)
        return True
