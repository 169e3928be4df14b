"""The statements a projector writes with. Many rows go in one statement, as arrays, by `unnest`."""

import secrets
from collections.abc import Iterable, Sequence
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
    TransferRow,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, TransferId
from livebalance.wire.money import money

# What the connections for these statements are to be set to. All find rows by keys, however many there are:
# planned once, not for each batch anew (which takes longer than running it), and never as a scan of a table
# that was small when it was planned.
SETTINGS = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def _at(name: str) -> str:
    """A timestamptz of ms, exact over 1970..9999: whole seconds as a double, the rest as an integer."""
    return f"(to_timestamp({name} / 1000) + ({name} % 1000) * interval '1 millisecond')"


def _ms(name: str) -> str:
    return f"(extract(epoch from {name}) * 1000)::bigint"


def _arrays(types: str, first: int = 1) -> str:
    return ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types.split(), first))


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> Iterable[Sequence[Any]]:
    return zip(*rows, strict=True) if rows else [()] * count


def _count(status: str) -> int:
    """The rows a command's tag tells of: "UPDATE 3", "INSERT 0 3"."""
    return int(status.rpartition(" ")[2])


async def prepare(connection: Connection) -> None:
    """To be done once on a new connection: amounts are read exactly, with their scale."""
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=money, format="text")


# --- lanes ---

_CLAIM = """
update lane set generation = generation + 1, owner = $2 where lane = $1
returning lane, generation, epoch, transfers_next, balances_next, transfers_last, transfers_fingerprint,
          balances_last, balances_fingerprint, halted_why, from_start
"""


async def claim_lane(connection: Connection, lane: Lane, owner: str) -> LaneRow:
    """Takes the lane from whoever had it. Waits for the row's lock: see `evict_holder`."""
    row = await connection.fetchrow(_CLAIM, lane, owner)
    assert row is not None, "lanes are made before they are claimed"
    return LaneRow(*row)


# The holder of a row's lock is the transaction its xmax names.
_EVICT = """
select pg_terminate_backend(a.pid)
from lane join pg_locks k on k.locktype = 'transactionid' and k.transactionid = lane.xmax and k.granted
join pg_stat_activity a on a.pid = k.pid and a.usename = current_user
where lane.lane = $1 and a.pid <> pg_backend_pid()
"""


async def evict_holder(connection: Connection, lane: Lane) -> int:
    """Ends the backend that holds the lane's lock, if it is of this role; says how many were ended."""
    return len(await connection.fetch(_EVICT, lane))


async def goes_on(connection: Connection, halted: list[Lane]) -> bool:
    """Whether an operator has let one of these lanes go on."""
    asked = "select exists (select from lane where lane = any($1) and halted_why is null)"
    return bool(await connection.fetchval(asked, halted))


_LANE_TYPES = "int int8 text int8 int8 int8 int8 int8 bytea int8 bytea int8 int8 text"
_MOVE = f"""
update lane l set
  transfers_next = m.transfers_to, balances_next = m.balances_to,
  transfers_last = coalesce(m.transfers_last, l.transfers_last),
  transfers_fingerprint = coalesce(m.transfers_fingerprint, l.transfers_fingerprint),
  balances_last = coalesce(m.balances_last, l.balances_last),
  balances_fingerprint = coalesce(m.balances_fingerprint, l.balances_fingerprint),
  last_event_at = greatest(l.last_event_at, {_at("m.event_ms")}),
  as_of = greatest(l.as_of, {_at("m.as_of_ms")}),
  halted_why = m.halted_why
from unnest({_arrays(_LANE_TYPES)})
  as m (lane, generation, epoch, transfers_from, balances_from, transfers_to, balances_to, transfers_last,
        transfers_fingerprint, balances_last, balances_fingerprint, event_ms, as_of_ms, halted_why)
where l.lane = m.lane and l.generation = m.generation and l.epoch = m.epoch
  and l.transfers_next = m.transfers_from and l.balances_next = m.balances_from
"""


async def move_lanes(connection: Connection, moves: Sequence[LaneMove]) -> int:
    """The fence. Rows written: fewer than `moves` means that somebody else owns a lane now."""
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
]
_BALANCE_TYPES = (
    "text int8 int8 int text int2 text int8 text text text text int8 text text int8 int8 text int8 int8 int8"
)
_TRANSFER_TYPES = "text int8 text text text int8 int8 int int8"
_AMOUNTS = {"balance", "opening", "posted_total", "half_applied", "drift"}
_TIMES = {"unverified_since", "disputed_since", "recorded_at"}


def _value(column: str) -> str:
    if column in _AMOUNTS:
        return f"x.{column}::numeric"
    return _at(f"x.{column}") if column in _TIMES else f"x.{column}"


# A part waits for what it selects from: nothing is touched before the fence holds, no transfer is listed
# before those of erased accounts are gone.
_WRITE = f"""
with moved as ({_MOVE} returning l.lane),
fence as materialized (select count(*) = cardinality($1) as holds from moved),
account as materialized (
  select x.* from fence, unnest({_arrays(_BALANCE_TYPES, 15)}) as x (account_id, was, {", ".join(_COLUMNS)})
   where fence.holds),
changed as (
  update balance b set {", ".join(f"{column} = {_value(column)}" for column in _COLUMNS)}, updated_at = now()
    from account x where b.account_id = x.account_id and b.revision = x.was returning 1),
opened as (
  insert into balance (account_id, {", ".join(_COLUMNS)})
  select x.account_id, {", ".join(map(_value, _COLUMNS))} from account x where x.was = 0
  on conflict (account_id) do nothing returning 1),
erased as (
  delete from transfer t using fence where fence.holds and t.account_id = any($46::text[]) returning 1),
listed as (
  insert into transfer (account_id, revision, transfer_id, amount, total, occurred_at, recorded_at, topic,
                        lane, source_offset)
  select x.account_id, x.revision, x.transfer_id, x.amount::numeric, x.total::numeric, {_at("x.occurred_ms")},
         {_at("x.recorded_ms")}, $45, x.lane, x.source_offset
    from fence, (select count(*) as count from erased) gone, unnest({_arrays(_TRANSFER_TYPES, 36)})
      as x (account_id, revision, transfer_id, amount, total, occurred_ms, recorded_ms, lane, source_offset)
   where fence.holds and gone.count >= 0
  on conflict (account_id, transfer_id) do nothing returning 1)
select (select count(*) from moved), (select count(*) from changed) + (select count(*) from opened),
       (select count(*) from listed)
"""


class WriteResult(NamedTuple):
    """Rows written of each kind; with fewer than were given, the transaction is to be rolled back."""

    lanes: int  # fewer: somebody else owns a lane now, and nothing else was written
    balances: int  # fewer: an account is not at the revision it was read at
    transfers: int  # fewer: a transfer is in the list already


async def write_batch(connection: Connection, topic: str, work: BatchRows) -> WriteResult:
    """All but what is quarantined, in one journey: the fence first. `topic` is that of the transfers."""
    row = await connection.fetchrow(
        _WRITE,
        *_columns(work.moves, len(LaneMove._fields)),
        *_columns(work.balances, len(BalanceRow._fields)),
        *_columns(work.transfers, len(TransferRow._fields)),
        topic,
        work.erased,
    )
    assert row is not None
    return WriteResult(*row)


_HOLD = f"""
insert into quarantine (topic, partition, source_offset, key, value, headers, kafka_time, reason, state)
select x.topic, x.partition, x.source_offset, x.key, x.value, x.headers::jsonb, {_at("x.kafka_ms")}, x.reason,
       x.state
from unnest({_arrays("text int int8 bytea bytea text int8 text text")})
  as x (topic, partition, source_offset, key, value, headers, kafka_ms, reason, state)
"""


async def quarantine(connection: Connection, rows: Sequence[QuarantineRow]) -> None:
    await connection.execute(_HOLD, *_columns(rows, len(QuarantineRow._fields)))


# --- what the fold goes on from ---

_STORED = f"""
select account_id, revision, lane, balance, version, transfer_id, client_id, opening, posted_total,
       transfer_count, half_applied, {_ms("unverified_since")}, {_ms("disputed_since")}, disputed_why,
       transfers_offset, balances_offset, {_ms("recorded_at")}
from balance
"""


async def stored_balances(connection: Connection, accounts: list[AccountId]) -> list[StoredBalance]:
    found = await connection.fetch(f"{_STORED} where account_id = any($1)", accounts)
    return [StoredBalance(*row) for row in found]


async def doubted_balances(connection: Connection, lanes: list[Lane]) -> list[StoredBalance]:
    """Those that are disputed or wait for a transfer. Looks at every account: not for a hot path."""
    found = await connection.fetch(
        f"{_STORED} where lane = any($1) and (disputed_since is not null or unverified_since is not null)",
        lanes,
    )
    return [StoredBalance(*row) for row in found]


_LISTED = f"""
select t.account_id, t.transfer_id, t.amount, t.total, {_ms("t.occurred_at")}
from unnest($1::text[], $2::text[]) as x (account_id, transfer_id)
join transfer t on t.account_id = x.account_id and t.transfer_id = x.transfer_id
"""

Named = tuple[AccountId, TransferId]


async def listed_transfers(connection: Connection, named: Sequence[Named]) -> dict[Named, ListedTransfer]:
    found = await connection.fetch(_LISTED, *_columns(named, 2))
    return {(account, id_): ListedTransfer(amount, at, total) for account, id_, amount, total, at in found}


# --- the projection itself ---


async def server_identity(connection: Connection) -> ServerIdentity:
    row = await connection.fetchrow("select system_identifier, timeline from server_identity")
    assert row is not None
    return ServerIdentity(*row)


async def projection(connection: Connection) -> Projection | None:
    """None before the first projector has opened it."""
    row = await connection.fetchrow("select epoch, known, partitions from truth")
    return None if row is None else Projection(*row)


async def open_projection(
    connection: Connection, epoch: Epoch, server: ServerIdentity, starts: Sequence[LaneStart]
) -> None:
    """Makes the projection's row and its lanes, unless another process was first."""
    async with connection.transaction():
        opened = await connection.execute(
            "insert into projection (epoch, system_identifier, timeline, partitions) values ($1, $2, $3, $4)"
            " on conflict (one) do nothing",
            epoch,
            *server,
            len(starts),
        )
        if _count(opened):
            await connection.executemany(
                "insert into lane (lane, transfers_next, balances_next, generation, epoch, from_start)"
                " values ($1, $2, $3, 0, $5, $4)",
                [(*start, epoch) for start in starts],
            )


def new_epoch() -> Epoch:
    """Random, never a counter: compared for equality only."""
    return Epoch(secrets.token_hex(8))


async def change_epoch(connection: Connection, old: Epoch, new: Epoch, server: ServerIdentity) -> bool:
    """Compare and set; False when another process was first."""
    async with connection.transaction():
        changed = await connection.execute(
            "update projection set epoch = $2, system_identifier = $3, timeline = $4 where epoch = $1",
            old,
            new,
            *server,
        )
        if _count(changed) == 0:
            return False
        await connection.execute("update lane set epoch = $1, as_of = null", new)
        return True
