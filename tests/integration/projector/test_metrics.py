"""What a projector counts and measures, as its process shows it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from livebalance.stack.paths import free_port
from tests.integration.projector.world import World, balance, history, transfer
from tests.scrape import Scrape, scrape, shows

PREFIX = "livebalance_projector"


@pytest.fixture
async def projector(world: World) -> str:
    """Its URL; it runs, and has its lanes."""
    port = free_port()
    world.start(http_port=port, max_consecutive_rejects=3)
    url = f"http://127.0.0.1:{port}"
    await shows(url, lambda now: now.sum(f"{PREFIX}_lanes", state="running") == 3, 30)
    return url


def shown(**expected: float) -> Callable[[Scrape], bool]:
    return lambda now: all(now.sum(f"{PREFIX}_{name}") == value for name, value in expected.items())


def lag(now: Scrape) -> tuple[float, float]:
    """Offsets and seconds, over all lanes; none until they are followed."""
    lanes = list(now.of(f"{PREFIX}_lag_seconds"))
    return sum(one.value for one in now.of(f"{PREFIX}_lag_records")), max(
        (one.value for one in lanes), default=0
    )


def held_back(now: Scrape) -> dict[str, float]:
    """Seconds by topic, where there are any; it is shown of every lane."""
    series = list(now.of(f"{PREFIX}_open_transaction_seconds"))
    assert len(series) == 2 * 3
    return {one.labels["topic"]: one.value for one in series if one.value}


async def complete_since(world: World) -> float:
    """Seconds since the moment as of which the lane that is furthest back is complete, as pages show it."""
    owner = await asyncpg.connect(world.database.url("owner"), timeout=10)
    try:
        return float(await owner.fetchval("select extract(epoch from now() - min(as_of))::float8 from lane"))
    finally:
        await owner.close()


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    """Nobody writes a balance."""
    owner = await asyncpg.connect(world.database.url("owner"), timeout=10)
    try:
        async with owner.transaction():
            await owner.execute("lock table balance in share mode")
            yield
    finally:
        await owner.close()


async def test_lag_is_what_is_not_applied_and_grows_older_until_it_is(world: World, projector: str) -> None:
    fed = history("alice", range(1, 21))
    await world.write(fed[:3])
    await shows(projector, shown(records_applied_total=3))
    async with locked(world):
        await world.write(fed[3:])
        await shows(projector, lambda now: lag(now)[0] >= 2 and lag(now)[1] > 0.5)
        # Given up and claimed again since then: it is still the same records that wait.
        again = await shows(projector, lambda now: lag(now)[1] > 5)
        assert again.sum(f"{PREFIX}_lane_releases_total", fate="transient") > 0
    await shows(projector, lambda now: lag(now) == (0, 0) and shown(records_applied_total=len(fed))(now))


async def test_markers_of_transactions_do_not_wait(world: World, projector: str) -> None:
    fed = history("alice", range(1, 6))
    await world.write_in_transactions(fed, world.prefix)
    found = await shows(
        projector, lambda now: lag(now) == (0, 0) and shown(records_applied_total=len(fed))(now)
    )
    assert held_back(found) == {}


async def test_short_transactions_hold_nothing_back_for_long(world: World, projector: str) -> None:
    fed, worst = history("alice", range(1, 41)), 0.0
    writing = asyncio.create_task(world.write_in_transactions(fed, world.prefix))
    while not writing.done():
        worst = max(worst, *held_back(await scrape(projector)).values(), 0)
    await writing
    assert worst < 5  # far below what an alert looks for
    await shows(projector, lambda now: not held_back(now) and shown(records_applied_total=len(fed))(now))


async def test_an_open_transaction_holds_back_what_follows_it_and_no_lag_says_so(
    world: World, projector: str
) -> None:
    fed = history("alice", range(1, 6))
    async with world.held_back_by(transfer("alice", "never", 1)):
        await world.write(fed)
        await shows(projector, lambda now: held_back(now).get(world.topics.transfers, 0) > 2)
        balances_alone = shown(records_applied_total=6)
        found = await shows(projector, lambda now: lag(now) == (0, 0) and balances_alone(now))
        assert held_back(found).keys() == {world.topics.transfers}
        assert await complete_since(world) > 2
    await shows(projector, lambda now: not held_back(now) and shown(records_applied_total=len(fed))(now))
    await world.is_exact(fed)
    async with asyncio.timeout(30):
        while await complete_since(world) > 2:  # noqa: ASYNC110 - SQL tells nobody
            await asyncio.sleep(0.05)


async def test_a_halted_lane_waits(world: World, projector: str) -> None:
    for _ in range(6):
        await world.write_raw(world.topics.transfers, b"alice", b"bad", 0)
    await shows(projector, lambda now: now.sum(f"{PREFIX}_lanes", state="halted") == 1)
    found = await shows(projector, lambda now: lag(now)[0] >= 1 and lag(now)[1] > 0)
    assert found.sum(f"{PREFIX}_quarantined_records_total") == 3
    await world.ask("update lane set generation = generation + 1 where lane = 1")
    # Claimed again, it is not read, but the broker has told how much there is.
    found = await shows(projector, lambda now: lag(now)[0] == 3 and now.sum(f"{PREFIX}_fenced_total") == 1)
    assert found.sum(f"{PREFIX}_lag_records", lane="0") == 3


async def test_what_comes_again_or_too_late_or_contradicts_is_counted_as_what_it_is(
    world: World, projector: str
) -> None:
    fed = history("alice", [500, -200])
    await world.write([*fed, fed[1], fed[4]])  # a transfer, and the newest balance
    await shows(projector, shown(records_applied_total=5, duplicate_records_total=2, stale_balances_total=0))
    await world.write([balance("alice", 1, "t-1", 500)])
    await shows(projector, shown(duplicate_records_total=2, stale_balances_total=1, disputed_accounts=0))
    await world.write([balance("alice", 2, "t-2", 301)])
    await shows(projector, shown(stale_balances_total=2, disputed_accounts=1, drifting_accounts=0))
    await world.write([transfer("bob", "t-1", 100), balance("bob", 0, "", 0), balance("bob", 1, "t-1", 99)])
    await shows(projector, shown(disputed_accounts=2, drifting_accounts=1))
    await world.write_raw(world.topics.transfers, b"alice", b"no")
    await shows(projector, shown(quarantined_total=1))


async def test_another_owner_and_another_epoch(world: World, projector: str) -> None:
    before = await shows(projector, lambda now: bool(list(now.of(f"{PREFIX}_epoch_info"))))
    await world.ask("update lane set generation = generation + 1")
    fenced = await shows(projector, lambda now: now.sum(f"{PREFIX}_fenced_total") == 1)
    assert fenced.sum(f"{PREFIX}_lane_releases_total", fate="fenced") == 1
    [epoch] = [one.labels["epoch"] for one in before.of(f"{PREFIX}_epoch_info")]
    assert fenced.sum(f"{PREFIX}_epoch_info", epoch=epoch) == 1
    await world.ask("update projection set timeline = '00000000'")
    await world.ask(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where usename = 'projector' and datname = current_database()"
    )
    changed = await shows(
        projector, lambda now: epoch not in {one.labels["epoch"] for one in now.of(f"{PREFIX}_epoch_info")}
    )
    assert changed.sum(f"{PREFIX}_epoch_changes_total") == 1
    assert changed.sum(f"{PREFIX}_epoch_info") == 1
