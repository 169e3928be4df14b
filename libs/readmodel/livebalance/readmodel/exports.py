"""Reads the rows of an export from the views of `reporting`, in pages, with the rights of an analyst.

A snapshot that stays open slows the projector down, so an export of transfers does not keep one: each page is
a statement of its own, and transfers that were applied after the export began are left out by their offsets.
Balances are few, so they are read in a single transaction. An export therefore contains what was listed when
it began, except for accounts that were erased meanwhile.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from livebalance.readmodel.connection import Connection
from livebalance.readmodel.gateway_reads import UnavailableError
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset
from livebalance.wire.timestamp import Millis, as_datetime, millis

PAGE_ROWS = 5_000  # rows per statement, so that it ends before the statement timeout on a slow disk

# Settings of the connection. Postgres must plan each page for its first key and look up accounts one at a
# time: a merge join would read all earlier balances, a hash join all balances.
SETTINGS = {
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


Row = tuple[Any, ...]


class EpochChangedError(Exception):
    """The epoch changed during the export: its revisions cannot be compared with each other."""


class Column(NamedTuple):
    """A column of an export. `kind` is its Postgres type: text, int4, int8, numeric or timestamptz."""

    name: str
    kind: str


class ExportBounds(NamedTuple):
    """State of the projection when the export began."""

    epoch: Epoch
    as_of: Millis | None  # every partition is complete as of this time; None: unknown for a partition
    ends: dict[Lane, Offset]  # per partition, the next transfer to be applied


class ExportRequest(NamedTuple):
    """Accounts to export (empty: all), and a period by `recorded_at`, with `since` but without `until`."""

    accounts: Sequence[AccountId] = ()
    since: Millis | None = None
    until: Millis | None = None


class Export(NamedTuple):
    """Rows by account and revision, with the epoch as the last column. Amounts are decimal strings."""

    columns: list[Column]
    bounds: ExportBounds
    pages: AsyncIterator[list[Row]]


async def set_numeric_codec(connection: Connection) -> None:
    """Lets a new connection return amounts as decimal strings."""
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=str, format="text")


# A standby does not know its primary's identity, and its data may be old, so `known` is not required there.
_BOUNDS = """
select lane, transfers_next, as_of, epoch, known or pg_is_in_recovery() as known from reporting.freshness
"""


async def _bounds(connection: Connection) -> ExportBounds:
    rows = await connection.fetch(_BOUNDS)
    if not rows or not all(row["known"] for row in rows):
        raise UnavailableError("the projection is missing, or this server has lost a part of it")
    times = [row["as_of"] for row in rows]
    return ExportBounds(
        Epoch(rows[0]["epoch"]),
        None if None in times else millis(min(times)),
        {Lane(row["lane"]): Offset(row["transfers_next"]) for row in rows},
    )


async def _columns(connection: Connection, view: str) -> list[Column]:
    statement = await connection.prepare(f"select * from reporting.{view}")
    columns = [Column(attribute.name, attribute.type.name) for attribute in statement.get_attributes()]
    return [*columns, Column("epoch", "text")]


_BALANCES = """
select b.*, $1::text as epoch from reporting.balances b
 where cardinality($2::text[]) = 0 or account_id = any($2) order by account_id
"""


@contextlib.asynccontextmanager
async def export_balances(connection: Connection, request: ExportRequest) -> AsyncIterator[Export]:
    """Exports the current balances. The period of the request is ignored.

    Raises:
        UnavailableError: The projection is missing, or this server has lost a part of it.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        bounds = await _bounds(connection)
        cursor = await connection.cursor(_BALANCES, bounds.epoch, request.accounts)

        async def pages() -> AsyncIterator[list[Row]]:
            while rows := await cursor.fetch(PAGE_ROWS):
                yield [tuple(row) for row in rows]

        yield Export(await _columns(connection, "balances"), bounds, pages())


# The last row of a page is returned even if it is not wanted, because the next page begins after it.
_PAGE = f"""
select q.*, w.wanted
  from (select p.*, row_number() over () as place
          from (select * from reporting.transfers
                 where {{}} order by account_id, revision limit {PAGE_ROWS}) p) q
  left join unnest($3::int[], $4::int8[]) as e (lane, next) on e.lane = q.partition
 cross join lateral (
       select coalesce(q.source_offset < e.next, true)
              and q.recorded_at >= coalesce($5::timestamptz, '-infinity')
              and q.recorded_at < coalesce($6::timestamptz, 'infinity') as wanted) w
 where w.wanted or q.place = {PAGE_ROWS}
 order by q.place
"""
_ALL_ACCOUNTS = _PAGE.format("(account_id, revision) > ($1, $2)")
_ONE_ACCOUNT = _PAGE.format("account_id = $1 and revision > $2")


@contextlib.asynccontextmanager
async def export_transfers(connection: Connection, request: ExportRequest) -> AsyncIterator[Export]:
    """Exports transfers.

    Raises:
        UnavailableError: The projection is missing, or this server has lost a part of it.
        EpochChangedError: Raised by the pages at their end. All rows of the export are then invalid.
    """
    bounds = await _bounds(connection)
    yield Export(await _columns(connection, "transfers"), bounds, _transfers(connection, request, bounds))


async def _transfers(
    connection: Connection, request: ExportRequest, bounds: ExportBounds
) -> AsyncIterator[list[Row]]:
    ends = list(bounds.ends), list(bounds.ends.values())
    period = [None if at is None else as_datetime(at) for at in (request.since, request.until)]
    accounts: set[str] = set(request.accounts)
    for account in sorted(accounts) or [""]:
        query, key = (_ONE_ACCOUNT if account else _ALL_ACCOUNTS), (account, 0)
        while rows := await connection.fetch(query, *key, *ends, *period):
            yield [(*row[:-2], bounds.epoch) for row in rows if row["wanted"]]
            if rows[-1]["place"] < PAGE_ROWS:
                break
            key = rows[-1]["account_id"], rows[-1]["revision"]
    if (await _bounds(connection)).epoch != bounds.epoch:
        raise EpochChangedError("the epoch changed during the export: start again")
