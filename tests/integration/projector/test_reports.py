"""Reports while a projector writes: all statements of a report see the same moment."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg

from livebalance.readmodel import exports
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.exports import ExportBounds, ExportRequest
from livebalance.wire.identity import AccountId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.timestamp import Millis
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer

ACCOUNTS = [f"acc-{number}" for number in range(6)]
REPORTS = 8
Records = list[Transfer | Balance]


def amount(turn: int) -> int:
    return (turn * 37 % 1000) * (1 if turn % 2 else -1)


@asynccontextmanager
async def write_continuously(pipeline: Pipeline) -> AsyncIterator[Records]:
    """Writes two transfers of each account per ms, repeatedly, and their balances a round later.

    Yields the records written.
    """
    written: Records = [balance(account, 0, "", 0) for account in ACCOUNTS]
    done = asyncio.Event()

    async def write(records: Records) -> None:
        written.extend(records)
        await pipeline.write(records, at=Millis(time.time_ns() // 1_000_000))

    async def move() -> None:
        await pipeline.write(written)
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
            yield written
        finally:
            done.set()


async def wait_for_change(watch: Connection) -> None:
    """Waits until the projector has written more."""
    query = "select coalesce(sum(revision), 0) from balance"
    before = await watch.fetchval(query)
    while await watch.fetchval(query) == before:  # noqa: ASYNC110 - SQL has no event
        await asyncio.sleep(0.005)


# Two times at which transfers were recorded, and the three periods between them.
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
    """Runs the queries of a report in one transaction. The projector writes between them."""
    async with analyst.transaction():
        balances = await analyst.fetch("select * from balances")
        await wait_for_change(watch)
        lines = await analyst.fetch(
            "select a.account_id, s.* from accounts a cross join lateral statement(a.account_id) s"
        )
        await wait_for_change(watch)
        [cuts] = await analyst.fetch(_CUTS)
        periods = await analyst.fetch(_PERIODS, *cuts)
        await wait_for_change(watch)
        flows = await analyst.fetch(
            "select coalesce(sum(transfers), 0) as transfers, coalesce(sum(net), 0) as net from daily_flows"
        )
        await wait_for_change(watch)
        fresh = await analyst.fetch("select sum(transfers_next) as transfers from freshness")
        assert await analyst.fetch("select * from reconciliation") == []
    return {"balances": balances, "lines": lines, "periods": periods, "flows": flows[0], "fresh": fresh[0]}


def of_account(account: str, lines: list[Any]) -> list[Any]:
    return [line for line in lines if line["account_id"] == account]


class Statement(NamedTuple):
    opening: Any
    lines: list[Any]
    closing: Any


def check_sum(lines: list[Any]) -> Statement:
    opening, *transfers, closing = lines
    assert (opening["line"], closing["line"]) == ("opening", "closing")
    assert {line["line"] for line in transfers} <= {"transfer"}
    assert opening["balance"] + sum(line["amount"] for line in transfers) == closing["balance"]
    return Statement(opening, transfers, closing)


def check_adjoining(whole: Statement, periods: list[Statement]) -> None:
    """Asserts that each period begins as the previous period ends, and that together they are the whole."""

    def edge(line: Any) -> list[Any]:
        return [line[name] for name in ("revision", "total", "balance", "recorded_at")]

    ends = [edge(whole.opening), *[edge(period.closing) for period in periods]]
    assert [*[edge(period.opening) for period in periods], edge(whole.closing)] == ends
    ids = [line["transfer_id"] for period in periods for line in period.lines]
    assert ids == [line["transfer_id"] for line in whole.lines]


def check_consistent(found: dict[str, Any]) -> None:
    for row in found["balances"]:
        whole = check_sum(of_account(row["account_id"], found["lines"]))
        periods = of_account(row["account_id"], found["periods"])
        check_adjoining(
            whole, [check_sum([line for line in periods if line["period"] == number]) for number in (1, 2, 3)]
        )
        lines, closing = whole.lines, whole.closing
        assert closing["balance"] == row["opening"] + row["posted_total"]
        if row["half_applied"] is not None:  # else the transfer that the balance names is not listed yet
            assert closing["balance"] == row["balance"] + row["half_applied"]
        assert len(lines) == row["transfer_count"]
        assert [line["revision"] for line in lines] == sorted({line["revision"] for line in lines})
        assert closing["revision"] <= row["revision"]
    assert sum(row["posted_total"] for row in found["balances"]) == found["flows"]["net"]
    assert found["flows"]["transfers"] == found["fresh"]["transfers"]


async def test_report_in_one_transaction_is_consistent(pipeline: Pipeline) -> None:
    pipeline.start(batch_records=50)
    analyst = await asyncpg.connect(pipeline.database.url("analyst"), timeout=30)
    watch = await asyncpg.connect(pipeline.database.url("owner"), timeout=30)
    reports = []
    async with asyncio.timeout(90):
        async with write_continuously(pipeline) as written:
            await pipeline.wait_for("select count(*)::int from balance where version > 0", len(ACCOUNTS))
            for _ in range(REPORTS):
                reports.append(await report(analyst, watch))
        await pipeline.wait_until_applied(written)
    for found in reports:
        check_consistent(found)
    counted = [found["flows"]["transfers"] for found in reports]
    assert counted == sorted(set(counted))  # each report saw another moment
    assert any(splits_transfers_of_one_ms(found) for found in reports)
    assert any(row["half_applied"] for found in reports for row in found["balances"])
    assert await analyst.fetch("select * from balances where half_applied <> 0 or drift is null") == []
    await analyst.close()
    await watch.close()
    await pipeline.assert_exact(written)


def splits_transfers_of_one_ms(found: dict[str, Any]) -> bool:
    """Returns whether a period of an account begins with two transfers of the same time."""
    for row in found["balances"]:
        own = [line for line in of_account(row["account_id"], found["periods"]) if line["line"] == "transfer"]
        for number in (2, 3):
            times = [line["recorded_at"] for line in own if line["period"] == number][:2]
            if len(times) == 2 and times[0] == times[1]:
                return True
    return False


async def test_report_over_several_snapshots_is_inconsistent(pipeline: Pipeline) -> None:
    """Without a single snapshot, the checks of the previous test fail."""
    pipeline.start(batch_records=50)
    analyst = await asyncpg.connect(
        pipeline.database.url("analyst"), server_settings={"default_transaction_isolation": "read committed"}
    )
    watch = await asyncpg.connect(pipeline.database.url("owner"), timeout=30)
    async with asyncio.timeout(60), write_continuously(pipeline):
        await pipeline.wait_for("select count(*)::int from balance where version > 0", len(ACCOUNTS))
        found = await report(analyst, watch)
    try:
        check_consistent(found)
    except AssertionError:
        return
    finally:
        await analyst.close()
        await watch.close()
    raise AssertionError("the checks do not notice different moments")


async def balances_at(analyst: Connection, moment: datetime) -> list[tuple[Any, ...]]:
    """Returns the balances of alice at `moment`, at revision 3, and at both ends of her statement."""
    queries = [
        "select revision, total, balance from balance_as_of('alice', $1)",
        "select revision, total, balance from balance_at('alice', 3) where $1::timestamptz is not null",
        "select revision, total, balance from statement('alice', until => $1)",
    ]
    return [tuple(row) for query in queries for row in await analyst.fetch(query, moment)]


async def test_reports_show_nothing_from_before_an_erasure(pipeline: Pipeline) -> None:
    """An erased account has no balance; an account that was opened again has its new opening."""
    analyst = await asyncpg.connect(pipeline.database.url("analyst"), timeout=30)
    async with pipeline.running(), asyncio.timeout(60):
        await pipeline.write(history("alice", [100]))
        await pipeline.wait_for("select coalesce(max(revision), 0)::int from balance where drift = 0", 3)
        moment = await analyst.fetchval("select max(recorded_at) + interval '1 ms' from transfers")
        assert {row[-1] for row in await balances_at(analyst, moment)} == {0, 1}
        await pipeline.write_raw(pipeline.topics.balances, b"alice", None)
        await pipeline.wait_for("select max(revision)::int from balance", 4)
        assert await analyst.fetchval("select state from accounts") == "erased"
        assert await balances_at(analyst, moment) == [(0, 0, None)] * 4
        await pipeline.write([balance("alice", 0, "", 2000)])
        await pipeline.wait_for("select max(revision)::int from balance", 5)
        await pipeline.write([transfer("alice", "t-9", 5), balance("alice", 1, "t-9", 2005)])
        await pipeline.wait_for("select max(revision)::int from balance where drift = 0", 7)
        assert await balances_at(analyst, moment) == [(0, 0, 20)] * 4
        opening, line, closing = await analyst.fetch("select * from statement('alice')")
        amounts = (opening["balance"], line["amount"], closing["balance"])
        assert amounts == (20, Decimal("0.05"), Decimal("20.05"))
    await analyst.close()


async def test_exports_of_balances_and_transfers_fit_together(pipeline: Pipeline) -> None:
    """Balances are exported first. The transfers up to the revision of each balance make its sum."""
    pipeline.start(batch_records=50)
    analyst = await asyncpg.connect(pipeline.database.url("analyst"), server_settings=exports.SETTINGS)
    watch = await asyncpg.connect(pipeline.database.url("owner"), timeout=30)
    await exports.set_numeric_codec(analyst)
    async with asyncio.timeout(60), write_continuously(pipeline):
        await pipeline.wait_for("select count(*)::int from balance where version > 0", len(ACCOUNTS))
        balances = (await export(analyst, watch, exports.export_balances))[0]
        await wait_for_change(watch)
        transfers, extent = await export(analyst, watch, exports.export_transfers)
    await analyst.close()
    await watch.close()
    assert len(transfers) == sum(extent.ends.values()) > sum(row["transfer_count"] for row in balances)
    for row in balances:
        own = [transfer for transfer in transfers if transfer["account_id"] == row["account_id"]]
        summed = [Decimal(line["amount"]) for line in own if line["revision"] <= row["revision"]]
        assert (len(summed), sum(summed)) == (row["transfer_count"], Decimal(row["posted_total"]))


async def export(
    analyst: Connection, watch: Connection, read: Callable[..., Any]
) -> tuple[list[dict[str, Any]], ExportBounds]:
    """Exports account by account, and waits for changes between the pages."""
    rows: list[dict[str, Any]] = []
    async with read(analyst, ExportRequest([AccountId(account) for account in ACCOUNTS])) as found:
        names = [column.name for column in found.columns]
        async for page in found.pages:
            rows += [dict(zip(names, row, strict=True)) for row in page]
            await wait_for_change(watch)
    return rows, found.bounds
