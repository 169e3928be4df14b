"""What an export reads, with the rights of an analyst: a view of `reporting`, page by page.

A snapshot that stays open slows the projector down, so none does for long. Balances are few: they are read in
one transaction. Transfers are read by a statement for each page; those applied since it began are left out by
their offsets. So what comes is what was listed when it began, but for accounts erased meanwhile.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from livebalance.readmodel.gateway_reads import UnavailableError
from livebalance.readmodel.projector_writes import Connection
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset
from livebalance.wire.timestamp import Millis, as_datetime, millis

PAGE = 5_000  # rows of one statement, which is to end in time however slow the disk is

# What the connection is to be set to. A page is planned for where it begins, and looks up accounts of its own
# only: a merge would read all balances before them, a hash all there are.
SETTINGS = {
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


Row = tuple[Any, ...]


class ChangedError(Exception):
    """The epoch is another one than when the export began: its revisions do not belong together."""


class Column(NamedTuple):
    """`kind` is the type of Postgres: text, int4, int8, numeric, timestamptz."""

    name: str
    kind: str


class Extent(NamedTuple):
    """How far the projection was when the export began."""

    epoch: Epoch
    as_of: Millis | None  # complete as of, in every partition; None: in some it is not known
    ends: dict[Lane, Offset]  # of each partition, the next transfer to be applied


class ExportRequest(NamedTuple):
    """Of these accounts, all if none is named. A period has its beginning and not its end, by recorded_at."""

    accounts: Sequence[AccountId] = ()
    since: Millis | None = None
    until: Millis | None = None


class Export(NamedTuple):
    """Rows in the order of accounts and revisions, each with the epoch last. Amounts are decimal strings."""

    columns: list[Column]
    extent: Extent
    pages: AsyncIterator[list[Row]]


async def prepare(connection: Connection) -> None:
    """To be done once on a new connection: amounts are read as they are written."""
    await connection.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=str, format="text")


# Of a standby it is not known which primary it follows, and that its data is older is what it is for.
_EXTENT = """
select lane, transfers_next, as_of, epoch, known or pg_is_in_recovery() as known from reporting.freshness
"""


async def _extent(connection: Connection) -> Extent:
    rows = await connection.fetch(_EXTENT)
    if not rows or not all(row["known"] for row in rows):
        raise UnavailableError("the projection is not here, or this server lost a part of it")
    times = [row["as_of"] for row in rows]
    return Extent(
        Epoch(rows[0]["epoch"]),
        None if None in times else millis(min(times)),
        {Lane(row["lane"]): Offset(row["transfers_next"]) for row in rows},
    )


async def _columns(connection: Connection, view: str) -> list[Column]:
    statement = await connection.prepare(f"select * from reporting.{view}")
    return [Column(one.name, one.type.name) for one in statement.get_attributes()] + [Column("epoch", "text")]


_BALANCES = """
select b.*, $1::text as epoch from reporting.balances b
 where cardinality($2::text[]) = 0 or account_id = any($2) order by account_id
"""


@contextlib.asynccontextmanager
async def balances(connection: Connection, asked: ExportRequest) -> AsyncIterator[Export]:
    """As they are at one moment, whatever the period. Raises UnavailableError."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        extent = await _extent(connection)
        cursor = await connection.cursor(_BALANCES, extent.epoch, asked.accounts)

        async def pages() -> AsyncIterator[list[Row]]:
            while rows := await cursor.fetch(PAGE):
                yield [tuple(row) for row in rows]

        yield Export(await _columns(connection, "balances"), extent, pages())


# The last row of a page tells where the next one begins, also when it is not wanted itself.
_PAGE = f"""
select q.*, w.wanted
  from (select p.*, row_number() over () as place
          from (select * from reporting.transfers
                 where {{}} order by account_id, revision limit {PAGE}) p) q
  left join unnest($3::int[], $4::int8[]) as e (lane, next) on e.lane = q.partition
 cross join lateral (
       select coalesce(q.source_offset < e.next, true)
              and q.recorded_at >= coalesce($5::timestamptz, '-infinity')
              and q.recorded_at < coalesce($6::timestamptz, 'infinity') as wanted) w
 where w.wanted or q.place = {PAGE}
 order by q.place
"""
_OF_ALL = _PAGE.format("(account_id, revision) > ($1, $2)")
_OF_ONE = _PAGE.format("account_id = $1 and revision > $2")


@contextlib.asynccontextmanager
async def transfers(connection: Connection, asked: ExportRequest) -> AsyncIterator[Export]:
    """Raises UnavailableError; its pages raise ChangedError, and then nothing that came counts."""
    extent = await _extent(connection)
    yield Export(await _columns(connection, "transfers"), extent, _transfers(connection, asked, extent))


async def _transfers(
    connection: Connection, asked: ExportRequest, extent: Extent
) -> AsyncIterator[list[Row]]:
    ends = list(extent.ends), list(extent.ends.values())
    period = [None if at is None else as_datetime(at) for at in (asked.since, asked.until)]
    named: set[str] = set(asked.accounts)
    for account in sorted(named) or [""]:
        query, key = (_OF_ONE if account else _OF_ALL), (account, 0)
        while rows := await connection.fetch(query, *key, *ends, *period):
            yield [(*row[:-2], extent.epoch) for row in rows if row["wanted"]]
            if rows[-1]["place"] < PAGE:
                break
            key = rows[-1]["account_id"], rows[-1]["revision"]
    if (await _extent(connection)).epoch != extent.epoch:
        raise ChangedError("the epoch changed meanwhile: begin again")
