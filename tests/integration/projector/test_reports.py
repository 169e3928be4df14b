"""Reports while a projector writes: each is of one moment, however much is written until it is complete."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg

from livebalance.readmodel import exports
from livebalance.readmodel.exports import ExportRequest, Extent
from livebalance.readmodel.projector_writes import Connection
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.timestamp import Millis
from tests.integration.projector.world import World, balance, history, transfer

ACCOUNTS = [f"acc-{number}" for number in range(6)]
REPORTS = 8
Records = list[Transfer | Balance]


def amount(turn: int) -> int:
    return (turn * 37 % 1000) * (1 if turn % 2 else -1)


@asynccontextmanager
async def moving(world: World) -> AsyncIterator[Records]:
    """Every account is moved twice in a ms, again and again, its balances a turn behind.

    Yields what was written.
    """
    fed: Records = [balance(account, 0, "", 0) for account in ACCOUNTS]
    done = asyncio.Event()

    async def write(records: Records) -> None:
        fed.extend(records)
        await world.write(records, at=Millis(time.time_ns() // 1_000_000))

    async def move() -> None:
        await world.write(fed)
        turn, total = 0, 0
        behind: Records = []
        while not done.is_set():
            two = (turn + 1, turn + 2)
            await write(
                [transfer(account, f"t-{turn}", amount(turn)) for turn in two for account in ACCOUNTS]
            )
            await write(behind)
            behind = []
            for turn in two:
                total += amount(turn)
                behind += [balance(account, turn, f"t-{turn}", total) for account in ACCOUNTS]
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


# Two times at which transfers were recorded, and the three periods that they make.
_CUTS = """
select percentile_disc(0.3) within group (order by recorded_at),
       percentile_disc(0.7) within group (order by recorded_at)
  from transfers
"""
_PERIODS = """
select a.account_id, p.period, s.*
  from accounts a
 cross join (values (1, '-infinity', $1::timestamptz), (2, $1, $2::timestamptz), (3, $2, 'infinity'))
       as p (period, since, until)
 cross join lateral statement(a.account_id, p.since, p.until) with ordinality s
 order by a.account_id, p.period, s.ordinality
"""


async def report(analyst: Connection, watch: Connection) -> dict[str, Any]:
    """Statements of one transaction; between them, the projector goes on."""
    async with analyst.transaction():
        balances = await analyst.fetch("select * from balances")
        await moved_on(watch)
        lines = await analyst.fetch(
            "select a.account_id, s.* from accounts a cross join lateral statement(a.account_id) s"
        )
        await moved_on(watch)
        [cuts] = await analyst.fetch(_CUTS)
        periods = await analyst.fetch(_PERIODS, *cuts)
        await moved_on(watch)
        flows = await analyst.fetch(
            "select coalesce(sum(transfers), 0) as transfers, coalesce(sum(net), 0) as net from daily_flows"
        )
        await moved_on(watch)
        fresh = await analyst.fetch("select sum(transfers_next) as transfers from freshness")
        assert await analyst.fetch("select * from reconciliation") == []
    return {"balances": balances, "lines": lines, "periods": periods, "flows": flows[0], "fresh": fresh[0]}


def of(account: str, lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["account_id"] == account]


class Statement(NamedTuple):
    opening: Any
    lines: list[Any]
    closing: Any


def adds_up(told: list[Any]) -> Statement:
    opening, *lines, closing = told
    assert (opening["line"], closing["line"]) == ("opening", "closing")
    assert {line["line"] for line in lines} <= {"transfer"}
    assert opening["balance"] + sum(line["amount"] for line in lines) == closing["balance"]
    return Statement(opening, lines, closing)


def adjoin(whole: Statement, periods: list[Statement]) -> None:
    """Each begins as the one before it ends; together they are the whole."""

    def edge(line: Any) -> list[Any]:
        return [line[name] for name in ("revision", "total", "balance", "recorded_at")]

    ends = [edge(whole.opening), *[edge(one.closing) for one in periods]]
    assert [*[edge(one.opening) for one in periods], edge(whole.closing)] == ends
    ids = [line["transfer_id"] for one in periods for line in one.lines]
    assert ids == [line["transfer_id"] for line in whole.lines]


def is_consistent(found: dict[str, Any]) -> None:
    for row in found["balances"]:
        whole = adds_up(of(row["account_id"], found["lines"]))
        told = of(row["account_id"], found["periods"])
        adjoin(whole, [adds_up([line for line in told if line["period"] == number]) for number in (1, 2, 3)])
        lines, closing = whole.lines, whole.closing
        assert closing["balance"] == row["opening"] + row["posted_total"]
        if row["half_applied"] is not None:  # else its balance came before the transfer it names
            assert closing["balance"] == row["balance"] + row["half_applied"]
        assert len(lines) == row["transfer_count"]
        assert [line["revision"] for line in lines] == sorted({line["revision"] for line in lines})
        assert closing["revision"] <= row["revision"]
    assert sum(row["posted_total"] for row in found["balances"]) == found["flows"]["net"]
    assert found["flows"]["transfers"] == found["fresh"]["transfers"]


async def test_a_report_is_of_one_moment(world: World) -> None:
    world.start(batch_records=50)
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
    assert any(cuts_between_two_of_a_ms(found) for found in reports)
    assert any(row["half_applied"] for found in reports for row in found["balances"])
    assert await analyst.fetch("select * from balances where half_applied <> 0 or drift is null") == []
    await analyst.close()
    await watch.close()
    await world.is_exact(fed)


def cuts_between_two_of_a_ms(found: dict[str, Any]) -> bool:
    """Whether a period of an account begins with two transfers of the same time."""
    for row in found["balances"]:
        own = [one for one in of(row["account_id"], found["periods"]) if one["line"] == "transfer"]
        for number in (2, 3):
            times = [one["recorded_at"] for one in own if one["period"] == number][:2]
            if len(times) == 2 and times[0] == times[1]:
                return True
    return False


async def test_statements_of_several_moments_do_not_fit_together(world: World) -> None:
    """What the one snapshot is for: without it the same report is found to be none."""
    world.start(batch_records=50)
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


async def of_before(analyst: Connection, moment: datetime) -> list[tuple[Any, ...]]:
    """What reports tell of alice then, in her first revisions, and as the edges of her statement."""
    queries = [
        "select revision, total, balance from balance_as_of('alice', $1)",
        "select revision, total, balance from balance_at('alice', 3) where $1::timestamptz is not null",
        "select revision, total, balance from statement('alice', until => $1)",
    ]
    return [tuple(row) for query in queries for row in await analyst.fetch(query, moment)]


async def test_of_before_an_erasure_nothing_is_told(world: World) -> None:
    """Of an erased account no balance, of one that was opened again its new opening."""
    analyst = await asyncpg.connect(world.database.url("analyst"), timeout=10)
    async with world.running(), asyncio.timeout(60):
        await world.write(history("alice", [100]))
        await world.until("select coalesce(max(revision), 0)::int from balance where drift = 0", 3)
        moment = await analyst.fetchval("select max(recorded_at) + interval '1 ms' from transfers")
        assert {row[-1] for row in await of_before(analyst, moment)} == {0, 1}
        await world.write_raw(world.topics.balances, b"alice", None)
        await world.until("select max(revision)::int from balance", 4)
        assert await analyst.fetchval("select state from accounts") == "erased"
        assert await of_before(analyst, moment) == [(0, 0, None)] * 4
        await world.write([balance("alice", 0, "", 2000)])
        await world.until("select max(revision)::int from balance", 5)
        await world.write([transfer("alice", "t-9", 5), balance("alice", 1, "t-9", 2005)])
        await world.until("select max(revision)::int from balance where drift = 0", 7)
        assert await of_before(analyst, moment) == [(0, 0, 20)] * 4
        opening, line, closing = await analyst.fetch("select * from statement('alice')")
        told = (opening["balance"], line["amount"], closing["balance"])
        assert told == (20, Decimal("0.05"), Decimal("20.05"))
    await analyst.close()


async def test_exports_fit_together(world: World) -> None:
    """Balances first: of each, exactly the transfers up to its revision come after, and none of later."""
    world.start(batch_records=50)
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
    async with read(analyst, ExportRequest([AccountId(account) for account in ACCOUNTS])) as found:
        names = [column.name for column in found.columns]
        async for page in found.pages:
            rows += [dict(zip(names, row, strict=True)) for row in page]
            await moved_on(watch)
    return rows, found.extent
