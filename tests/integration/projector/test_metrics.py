"""The metrics that a projector's process serves."""

import asyncio
import time
from collections.abc import Callable

import asyncpg
import pytest

from livebalance.stack.paths import free_port
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer
from tests.scrape import Scrape, scrape, wait_for_metrics

PREFIX = "livebalance_projector"


@pytest.fixture
async def projector(pipeline: Pipeline) -> str:
    """Starts a projector, waits for its lanes, and returns its URL."""
    port = free_port()
    pipeline.start(http_port=port, max_consecutive_rejects=3)
    url = f"http://127.0.0.1:{port}"
    await wait_for_metrics(url, lambda now: now.sum(f"{PREFIX}_lanes", state="running") == 3)
    return url


def has(**expected: float) -> Callable[[Scrape], bool]:
    return lambda now: all(now.sum(f"{PREFIX}_{name}") == value for name, value in expected.items())


def lag(now: Scrape) -> tuple[float, float]:
    """Returns the lag of all lanes: the sum of their offsets, and the longest seconds."""
    lanes = list(now.of(f"{PREFIX}_lag_seconds"))
    return sum(series.value for series in now.of(f"{PREFIX}_lag_records")), max(
        (series.value for series in lanes), default=0
    )


def open_transactions(now: Scrape) -> dict[str, float]:
    """Returns the seconds by topic, if not 0. Each lane has a series."""
    all_series = list(now.of(f"{PREFIX}_open_transaction_seconds"))
    assert len(all_series) == 2 * 3
    return {series.labels["topic"]: series.value for series in all_series if series.value}


async def seconds_since_complete(pipeline: Pipeline) -> float:
    """Returns the seconds since "complete as of" of the lane that is furthest behind."""
    owner = await asyncpg.connect(pipeline.database.url("owner"), timeout=30)
    try:
        return float(await owner.fetchval("select extract(epoch from now() - min(as_of))::float8 from lane"))
    finally:
        await owner.close()


async def test_lag_grows_until_the_records_are_applied(pipeline: Pipeline, projector: str) -> None:
    records = history("alice", range(1, 21))
    await pipeline.write(records[:3])
    await wait_for_metrics(projector, has(records_applied_total=3))
    async with pipeline.database.locked("balance"):
        await pipeline.write(records[3:])
        await wait_for_metrics(projector, lambda now: lag(now)[0] >= 2 and lag(now)[1] > 0.5)
        # The lanes were released and claimed again meanwhile; the lag still counts from the same records.
        await wait_for_metrics(
            projector,
            lambda now: now.sum(f"{PREFIX}_lane_releases_total", fate="transient") > 0 and lag(now)[1] > 5,
        )
    await wait_for_metrics(
        projector, lambda now: lag(now) == (0, 0) and has(records_applied_total=len(records))(now)
    )


async def test_transaction_markers_are_no_lag(pipeline: Pipeline, projector: str) -> None:
    records = history("alice", range(1, 6))
    await pipeline.write_in_transactions(records, pipeline.prefix)
    metrics = await wait_for_metrics(
        projector, lambda now: lag(now) == (0, 0) and has(records_applied_total=len(records))(now)
    )
    assert open_transactions(metrics) == {}


async def test_short_transactions_hold_records_back_briefly(pipeline: Pipeline, projector: str) -> None:
    records, worst, began = history("alice", range(1, 41)), 0.0, time.monotonic()
    writing = asyncio.create_task(pipeline.write_in_transactions(records, pipeline.prefix))
    while not writing.done():
        worst = max(worst, *open_transactions(await scrape(projector)).values(), 0)
    longest, took = await writing, time.monotonic() - began
    # Each transaction counts anew. A busy machine may stretch a single transaction, here or as it is read.
    assert worst < max(5 + longest, took / 2)
    await wait_for_metrics(
        projector, lambda now: not open_transactions(now) and has(records_applied_total=len(records))(now)
    )


async def test_open_transaction_is_measured_apart_from_lag(pipeline: Pipeline, projector: str) -> None:
    records = history("alice", range(1, 6))
    async with pipeline.open_transaction(transfer("alice", "never", 1)):
        await pipeline.write(records)
        await wait_for_metrics(
            projector, lambda now: open_transactions(now).get(pipeline.topics.transfers, 0) > 2
        )
        balances_alone = has(records_applied_total=6)
        metrics = await wait_for_metrics(projector, lambda now: lag(now) == (0, 0) and balances_alone(now))
        assert open_transactions(metrics).keys() == {pipeline.topics.transfers}
        assert await seconds_since_complete(pipeline) > 2
    await wait_for_metrics(
        projector, lambda now: not open_transactions(now) and has(records_applied_total=len(records))(now)
    )
    await pipeline.assert_exact(records)
    async with asyncio.timeout(30):
        while await seconds_since_complete(pipeline) > 2:  # noqa: ASYNC110 - SQL has no event
            await asyncio.sleep(0.05)


async def test_lag_of_a_halted_lane_counts_its_records(pipeline: Pipeline, projector: str) -> None:
    for _ in range(6):
        await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad", 0)
    await wait_for_metrics(projector, lambda now: now.sum(f"{PREFIX}_lanes", state="halted") == 1)
    metrics = await wait_for_metrics(projector, lambda now: lag(now)[0] >= 1 and lag(now)[1] > 0)
    assert metrics.sum(f"{PREFIX}_quarantined_records_total") == 3
    await pipeline.query("update lane set generation = generation + 1 where lane = 1")
    # After the claim the lane is not fetched, but the broker has reported its end offset.
    metrics = await wait_for_metrics(
        projector, lambda now: lag(now)[0] == 3 and now.sum(f"{PREFIX}_fenced_total") == 1
    )
    assert metrics.sum(f"{PREFIX}_lag_records", lane="0") == 3


async def test_duplicates_stale_balances_and_contradictions_are_counted(
    pipeline: Pipeline, projector: str
) -> None:
    records = history("alice", [500, -200])
    await pipeline.write([*records, records[1], records[4]])  # a transfer, and the newest balance
    await wait_for_metrics(
        projector, has(records_applied_total=5, duplicate_records_total=2, stale_balances_total=0)
    )
    await pipeline.write([balance("alice", 1, "t-1", 500)])
    await wait_for_metrics(
        projector, has(duplicate_records_total=2, stale_balances_total=1, disputed_accounts=0)
    )
    await pipeline.write([balance("alice", 2, "t-2", 301)])
    await wait_for_metrics(projector, has(stale_balances_total=2, disputed_accounts=1, drifting_accounts=0))
    await pipeline.write(
        [transfer("bob", "t-1", 100), balance("bob", 0, "", 0), balance("bob", 1, "t-1", 99)]
    )
    await wait_for_metrics(projector, has(disputed_accounts=2, drifting_accounts=1))
    await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"no")
    await wait_for_metrics(projector, has(quarantined_records_total=1))


async def test_fences_and_epoch_changes_are_counted(pipeline: Pipeline, projector: str) -> None:
    before = await wait_for_metrics(projector, lambda now: bool(list(now.of(f"{PREFIX}_epoch_info"))))
    await pipeline.query("update lane set generation = generation + 1")
    fenced = await wait_for_metrics(projector, lambda now: now.sum(f"{PREFIX}_fenced_total") == 1)
    assert fenced.sum(f"{PREFIX}_lane_releases_total", fate="fenced") == 1
    [epoch] = [series.labels["epoch"] for series in before.of(f"{PREFIX}_epoch_info")]
    assert fenced.sum(f"{PREFIX}_epoch_info", epoch=epoch) == 1
    await pipeline.query("update projection set timeline = '00000000'")
    await pipeline.query(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where usename = 'projector' and datname = current_database()"
    )
    changed = await wait_for_metrics(
        projector,
        lambda now: epoch not in {series.labels["epoch"] for series in now.of(f"{PREFIX}_epoch_info")},
    )
    assert changed.sum(f"{PREFIX}_epoch_changes_total") == 1
    assert changed.sum(f"{PREFIX}_epoch_info") == 1
