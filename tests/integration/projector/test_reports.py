"""Reports while a projector writes: each is of one moment, however much is written until it is complete."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg

from livebalance.readmodel import exports
from livebalance.readmodel.exports import Asked, Extent
from livebalance.readmodel.writes import Connection
from livebalance.wire.identity import AccountId
from livebalance.wire.record import Balance, Transfer
from tests.integration.projector.world import World, balance, transfer

ACCOUNTS = [f"acc-{number}" for number in range(6)]
REPORTS = 8
Records = list[Transfer | Balance]


def amount(turn: int) -> int:
    return (turn * 37 % 1000) * (1 if turn % 2 else -1)


@asynccontextmanager
async def moving(world: World) -> AsyncIterator[Records]:
    """Every account is moved again and again, its balances a turn behind: yields what was written."""
    fed: Records = [balance(account, 0, "", 0) for account in ACCOUNTS]
    done = asyncio.Event()

    async def write(records: Records) -> None:
        fed.extend(records)
        await world.write(records)

    async def move() -> None:
        await world.write(fed)
        turn, total = 0, 0
        behind: Records = []
        while not done.is_set():
            turn += 1
            total += amount(turn)
            await write([transfer(account, f"t-{turn}", amount(turn)) for account in ACCOUNTS])
            await write(behind)
            behind = [balance(account, turn, f"t-{turn}", total) for account in ACCOUNTS]
        await write(behind)

    async with asyncio.TaskGroup() as group:
        group.create_task(move())
        try:
            yield fed
        finally:
            done.set()


async def moved_on(watch: Connection) -> None:
    """Until the projection is further than it was; each look is of a new moment."""
    query = "select coalesce(sum(revision), 0) from balance"
    before = await watch.fetchval(query)
    while await watch.fetchval(query) == before:  # noqa: ASYNC110 - SQL tells nobody
        await asyncio.sleep(0.005)


async def report(analyst: Connection, watch: Connection) -> dict[str, Any]:
    """Four statements of one transaction; between them, the projector goes on."""
    async with analyst.transaction():
        balances = await analyst.fetch("select * from balances")
        await moved_on(watch)
        lines = await analyst.fetch(
            "select a.account_id, s.* from accounts a cross join lateral statement(a.account_id) s"
        )
        await moved_on(watch)
        flows = await analyst.fetch(
            "select coalesce(sum(transfers), 0) as transfers, coalesce(sum(net), 0) as net from daily_flows"
        )
        await moved_on(watch)
        fresh = await analyst.fetch("select sum(transfers_next) as transfers from freshness")
        assert await analyst.fetch("select * from reconciliation") == []
    return {"balances": balances, "lines": lines, "flows": flows[0], "fresh": fresh[0]}


def is_consistent(found: dict[str, Any]) -> None:
    for row in found["balances"]:
        opening, *lines, closing = [
            line for line in found["lines"] if line["account_id"] == row["account_id"]
        ]
        assert opening["balance"] + sum(line["amount"] for line in lines) == closing["balance"]
        assert closing["balance"] == row["opening"] + row["posted_total"]
        if row["half_applied"] is not None:  # else its balance came before the transfer it names
            assert closing["balance"] == row["balance"] + row["half_applied"]
        assert len(lines) == row["transfer_count"]
        assert [line["revision"] for line in lines] == sorted({line["revision"] for line in lines})
        assert closing["revision"] <= row["revision"]
    assert sum(row["posted_total"] for row in found["balances"]) == found["flows"]["net"]
    assert found["flows"]["transfers"] == found["fresh"]["transfers"]


async def test_a_report_is_of_one_moment(world: World) -> None:
    world.start(batch=50)
    analyst = await asyncpg.connect(world.database.url("analyst"), timeout=10)
    watch = await asyncpg.connect(world.database.url("owner"), timeout=10)
    reports = []
    async with asyncio.timeout(90):
        async with moving(world) as fed:
            await world.until("select count(*)::int from balance where version > 0", len(ACCOUNTS))
            for _ in range(REPORTS):
                reports.append(await report(analyst, watch))
        await world.applied(fed)
    for found in reports:
        is_consistent(found)
    counted = [found["flows"]["transfers"] for found in reports]
    assert counted == sorted(set(counted))  # each of another moment
    assert any(row["half_applied"] for found in reports for row in found["balances"])
    assert await analyst.fetch("select * from balances where half_applied <> 0 or drift is null") == []
    await analyst.close()
    await watch.close()
    await world.is_exact(fed)


async def test_statements_of_several_moments_do_not_fit_together(world: World) -> None:
    """What the one snapshot is for: without it the same report is found to be none."""
    world.start(batch=50)
    analyst = await asyncpg.connect(
        world.database.url("analyst"), server_settings={"default_transaction_isolation": "read committed"}
    )
    watch = await asyncpg.connect(world.database.url("owner"), timeout=10)
    async with asyncio.timeout(60), moving(world):
        await world.until("select count(*)::int from balance where version > 0", len(ACCOUNTS))
        found = await report(analyst, watch)
    try:
        is_consistent(found)
    except AssertionError:
        return
    finally:
        await analyst.close()
        await watch.close()
    raise AssertionError("the law does not see that moments differ")


async def test_exports_fit_together(world: World) -> None:
    """Balances first: of each, exactly the transfers up to its revision come after, and none of later."""
    world.start(batch=50)
    analyst = await asyncpg.connect(world.database.url("analyst"), server_settings=exports.SETTINGS)
    watch = await asyncpg.connect(world.database.url("owner"), timeout=10)
    await exports.prepare(analyst)
    async with asyncio.timeout(60), moving(world):
        await world.until("select count(*)::int from balance where version > 0", len(ACCOUNTS))
        balances = (await exported(analyst, watch, exports.balances))[0]
        await moved_on(watch)
        transfers, extent = await exported(analyst, watch, exports.transfers)
    await analyst.close()
    await watch.close()
    assert len(transfers) == sum(extent.ends.values()) > sum(row["transfer_count"] for row in balances)
    for row in balances:
        own = [one for one in transfers if one["account_id"] == row["account_id"]]
        summed = [Decimal(one["amount"]) for one in own if one["revision"] <= row["revision"]]
        assert (len(summed), sum(summed)) == (row["transfer_count"], Decimal(row["posted_total"]))


async def exported(
    analyst: Connection, watch: Connection, read: Callable[..., Any]
) -> tuple[list[dict[str, Any]], Extent]:
    """Of each account by itself, so that much is written between its pages."""
    rows: list[dict[str, Any]] = []
    async with read(analyst, Asked([AccountId(account) for account in ACCOUNTS])) as found:
        names = [column.name for column in found.columns]
        async for page in found.pages:
            rows += [dict(zip(names, row, strict=True)) for row in page]
            await moved_on(watch)
    return rows, found.extent
