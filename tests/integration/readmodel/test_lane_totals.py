"""The numbers of accounts in the rows of the lanes."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel import lane_totals
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.projection import batch_writes, epoch, lane_writes
from livebalance.readmodel.rows import LaneMove, LanesTotals, ServerIdentity, Totals, lanes_from_start
from livebalance.wire.identity import Epoch, Lane, Offset
from livebalance.wire.timestamp import Millis
from tests.servers.database import Database

EPOCH = Epoch("0123456789abcdef")
LANES = [Lane(0), Lane(1)]
ACCOUNTS = """
insert into balance (account_id, revision, lane, opening, posted_total, transfer_count, drift,
                     unverified_since, disputed_since, recorded_at)
values ('waits', 1, 0, 0, 0, 1, null, 'epoch', null, 'epoch'),
       ('drifts', 1, 0, 0, 0, 1, 5, null, 'epoch', 'epoch'),
       ('waits too', 1, 1, 0, 0, 1, null, '1970-01-01 00:00:09Z', 'epoch', 'epoch'),
       ('verified', 1, 1, 0, 0, 1, 0, null, null, 'epoch')
"""
COUNTED = LanesTotals(Totals(disputed=2, drifting=1, unverified=2), Millis(0), [], [])


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    """A connection as `projector` to a projection with two lanes, which it owns, and four accounts."""
    connection = await asyncpg.connect(database.url("projector"), server_settings=batch_writes.SETTINGS)
    here = ServerIdentity("1", "00000001")
    await epoch.create_projection(connection, EPOCH, here, lanes_from_start(2))
    await connection.execute(ACCOUNTS)
    for lane in LANES:
        await lane_writes.claim_lane(connection, lane, "projector")
    yield connection
    await connection.close()


def add(difference: Totals) -> LaneMove:
    at = Offset(0)
    move = LaneMove(Lane(0), 1, EPOCH, at, at, at, at, None, None, None, None, None, None, None)
    return move._replace(**difference._asdict())


async def claim_as_older_release(connection: Connection, lane: Lane) -> None:
    await connection.execute("update lane set generation = generation + 1 where lane = $1", lane)


async def test_batch_adds_its_difference(connection: Connection) -> None:
    await lane_writes.move_lanes(connection, [add(Totals(disputed=5, drifting=2, unverified=1))])
    await lane_writes.move_lanes(connection, [add(Totals(disputed=-3))])
    read = await lane_totals.read_totals(connection, LANES)
    assert (read.totals, read.uncounted) == (Totals(disputed=2, drifting=2, unverified=1), [])


async def test_lane_of_an_older_release_is_counted_again(connection: Connection) -> None:
    for lane in LANES:
        await claim_as_older_release(connection, lane)
        await lane_writes.claim_lane(connection, lane, "projector")
    assert await lane_totals.read_totals(connection, LANES) == LanesTotals(Totals(), Millis(0), LANES, [])
    await lane_totals.count_totals(connection, [LaneOwner(lane, 3) for lane in LANES])
    assert await lane_totals.read_totals(connection, LANES) == COUNTED
    await lane_writes.claim_lane(connection, Lane(0), "projector")
    assert await lane_totals.read_totals(connection, LANES) == COUNTED


async def test_count_of_a_former_owner_changes_nothing(connection: Connection) -> None:
    await claim_as_older_release(connection, Lane(0))
    await lane_totals.count_totals(connection, [LaneOwner(Lane(0), 1)])
    assert (await lane_totals.read_totals(connection, LANES)).uncounted == [Lane(0)]


async def test_batch_that_commits_during_the_count_is_counted_once(
    connection: Connection, database: Database
) -> None:
    await claim_as_older_release(connection, Lane(0))
    owners = [LaneOwner(Lane(0), 2), LaneOwner(Lane(1), 1)]
    other = await asyncpg.connect(database.url("projector"))
    try:
        async with other.transaction():
            await other.execute("update balance set disputed_since = 'epoch' where account_id = 'waits'")
            await other.execute("update lane set disputed = disputed + 1 where lane = 0")
            counting = asyncio.create_task(lane_totals.count_totals(connection, owners))
            waits = "select exists (select from pg_stat_activity where wait_event_type = 'Lock')"
            async with asyncio.timeout(30):
                while not await other.fetchval(waits):  # noqa: ASYNC110 - SQL has no event
                    await asyncio.sleep(0.01)
        await counting
    finally:
        await other.close()
    read = await lane_totals.read_totals(connection, LANES)
    assert read.totals == Totals(disputed=3, drifting=1, unverified=2)
