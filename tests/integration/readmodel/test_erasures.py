"""Erased transfers are deleted in pieces, and no reader sees them meanwhile."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from livebalance.readmodel import account_pages, erasures, exports, gateway_reads, lane_totals, statements
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.gateway_reads import AccountQuery
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision, TransferId
from tests.servers.database import Database

EPOCH = "00000000000000a1"
A = AccountId("a")
# The transfers up to revision 20 are erased, and those up to revision 4 are deleted.
FILL = f"""
insert into projection select true, '{EPOCH}', system_identifier, timeline, 1 from server_identity;
insert into lane values (0, 99, 99, 1, '{EPOCH}', true, null, null, null, null, null, now());
insert into transfer select 'a', n, 't-' || n, 1, n, at, at, 'transfers', 0, n
  from generate_series(5, 24) n
 cross join lateral (select timestamptz '2026-01-01Z' + n * interval '1 s' as at) t
 where n not in (20, 21);
insert into transfer values ('b', 1, 't-1', 5, 5, '2026-01-01Z', '2026-01-01Z', 'transfers', 0, 0);
insert into balance (account_id, revision, lane, opening, posted_total, transfer_count, recorded_at,
                     erased_revision, deleted_revision)
values ('a', 24, 0, 0, 3, 3, '2026-01-02Z', 20, 4), ('b', 1, 0, 0, 5, 1, '2026-01-01Z', 0, 0)
"""
LEFT = [22, 23, 24]


@pytest.fixture
async def owner(database: Database) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database.url("owner"))
    await connection.execute(FILL)
    yield connection
    await connection.close()


async def test_gateway_sees_no_erased_transfer(owner: Connection, database: Database) -> None:
    gateway = await asyncpg.connect(database.url("gateway"), server_settings=gateway_reads.SETTINGS)
    try:
        for after in (None, Position(Epoch(EPOCH), Revision(6))):
            [state] = await gateway_reads.read_accounts(gateway, [AccountQuery(A, after)], 1000, 100)
            assert sorted(transfer.revision for transfer in state.transfers) == LEFT
        pages = [
            await account_pages.read_older(gateway, A, None, 50),
            await account_pages.read_newer(gateway, A, Revision(0), 50),
        ]
        assert [sorted(item.revision for item in page.transfers) for page in pages] == [LEFT, LEFT]
        assert (await account_pages.read_older(gateway, A, TransferId("t-22"), 50)).transfers == []
        for erased in ("t-19", "t-5"):
            assert (await account_pages.read_transfer(gateway, A, TransferId(erased)))[1] is None
            assert (await account_pages.read_older(gateway, A, TransferId(erased), 50)).transfers == []
        everything = statements.TransferFilter()
        result = await statements.search_transfers(gateway, A, everything, None, 50)
        assert sorted(item.revision for item in result.page.transfers) == LEFT
        below = await statements.search_transfers(gateway, A, everything, TransferId("t-19"), 50)
        assert (below.page.transfers, below.next_) == ([], None)
        chart = await statements.read_chart(gateway, A, statements.Period(), 50)
        assert [point.revision for point in chart.points] == LEFT
        edges = await statements.read_edges(gateway, A, None, None)
        assert (edges.opening.revision, edges.closing.revision) == (0, 24)
    finally:
        await gateway.close()


QUERIES = {
    "select array_agg(revision order by revision) from transfers where account_id = 'a'": LEFT,
    "select count(*) from transfers": 4,
    "select transfers from daily_flows": 4,
    "select sum(transfers) from hourly_volume": 4,
    "select transfers from top_movers('2026-01-01') where account_id = 'a'": 3,
    "select array_agg(revision order by revision) from statement('a') where line = 'transfer'": LEFT,
    "select revision from statement('a') where line = 'opening'": 0,
    "select revision from balance_as_of('a', '2026-01-01 00:00:21Z')": 0,
    "select revision from balance_as_of('a', '2026-01-01 00:00:23Z')": 22,
    "select revision from balance_at('a', 20)": 0,
    "select revision from balance_at('a', 22)": 22,
    "select extract(second from last_transfer_at)::int from accounts where account_id = 'a'": 24,
    "select erased_revision from balances where account_id = 'a'": 20,
}


async def test_analyst_sees_no_erased_transfer(owner: Connection, database: Database) -> None:
    analyst = await asyncpg.connect(database.url("analyst"), server_settings=exports.SETTINGS)
    try:
        for query, expected in QUERIES.items():
            assert await analyst.fetchval(query) == expected, query
        async with exports.export_transfers(analyst, exports.ExportRequest()) as export:
            rows = [row[:2] for page in [page async for page in export.pages] for row in page]
        assert rows == [("a", 22), ("a", 23), ("a", 24), ("b", 1)]
    finally:
        await analyst.close()


async def test_account_without_transfers_left_has_no_last_transfer(
    owner: Connection, database: Database
) -> None:
    await owner.execute("update balance set erased_revision = 24 where account_id = 'a'")
    analyst = await asyncpg.connect(database.url("analyst"))
    try:
        assert await analyst.fetchval("select last_transfer_at from accounts where account_id = 'a'") is None
        assert await analyst.fetch("select from statement('a') where line = 'transfer'") == []
    finally:
        await analyst.close()


async def test_pieces_delete_erased_transfers_only(
    owner: Connection, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "_DELETE", erasures._DELETE.replace(str(erasures.PIECE_REVISIONS), "7"))
    projector = await asyncpg.connect(database.url("projector"))
    stored = "select array_agg(revision order by revision) from transfer where account_id = 'a'"
    try:
        assert (await lane_totals.read_totals(projector, [Lane(0)])).erasing == [0]
        assert not await erasures.delete_piece(projector, LaneOwner(Lane(0), 2))  # another owner
        assert await erasures.delete_piece(projector, LaneOwner(Lane(0), 1))
        assert await owner.fetchval(stored) == [*range(12, 20), *LEFT]
        while await erasures.delete_piece(projector, LaneOwner(Lane(0), 1)):
            pass
        assert await owner.fetchval(stored) == LEFT
        assert (await lane_totals.read_totals(projector, [Lane(0)])).erasing == []
        [row] = await owner.fetch(
            "select erased_revision, deleted_revision from balance where account_id = 'a'"
        )
        assert tuple(row) == (20, 20)
        assert await owner.fetchval("select count(*) from transfer") == 4
    finally:
        await projector.close()
