"""The feed on a real broker."""

import asyncio
import json
import signal
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from aiokafka.partitioner import DefaultPartitioner

from livebalance.feed.feed import Feed, FeedOptions
from livebalance.feed.settings import FeedSettings
from livebalance.generator.pace import UNLIMITED
from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.record import rejection_reason
from livebalance.wire.money import ZERO, Money
from tests.integration.recorder.topics import balances, reached, records, transfers


def settings(kafka: str, topics: Topics) -> FeedSettings:
    return FeedSettings(kafka=kafka, transfers_topic=topics.transfers, balances_topic=topics.balances)


async def fed(kafka: str, topics: Topics, order: FeedOptions) -> Feed:
    feed = Feed(settings(kafka, topics), order)
    await feed.until(asyncio.Event())
    return feed


@pytest.mark.parametrize("plain", [False, True])
async def test_a_transfer_is_two_records_that_sum_to_nothing(kafka: str, topics: Topics, plain: bool) -> None:
    feed = await fed(kafka, topics, FeedOptions(accounts=5, rate=UNLIMITED, limit=300, plain=plain))
    assert (feed.transfers, feed.opened) == (300, 5)
    found = await transfers(kafka, topics)
    assert Counter(record.id for record in found) == {
        f"{feed.run}-{n}-{side}": 1 for n in range(300) for side in "dc"
    }
    total = ZERO
    for record in found:
        assert rejection_reason(record, record.account.encode()) is None
        assert (record.amount.unscaled < 0) == record.id.endswith("-d")
        total = total.add(record.amount)
    assert total.same_value(Money(0, 0))


async def test_both_topics_are_partitioned_as_java_would(kafka: str, topics: Topics) -> None:
    await fed(kafka, topics, FeedOptions(accounts=8, rate=UNLIMITED, limit=50))
    all_partitions = list(range(topics.partitions))
    for topic in (topics.transfers, topics.balances):
        for record in await records(kafka, topic, topics.partitions):
            assert record.partition == DefaultPartitioner()(record.key, all_partitions, all_partitions)


async def test_an_account_is_opened_once_however_often_a_feed_starts(kafka: str, topics: Topics) -> None:
    opened = []
    for accounts in (3, 3, 5):
        feed = await fed(kafka, topics, FeedOptions(accounts=accounts, rate=UNLIMITED, limit=10))
        opened.append(feed.opened)
    assert opened == [3, 0, 2]
    found = [written.balance for written in await balances(kafka, topics)]
    assert sorted(balance.account for balance in found) == [f"acc-{n:04}" for n in range(1, 6)]
    assert {(balance.version, balance.transfer_id) for balance in found} == {(0, "")}


async def test_the_same_seed_feeds_the_same_money_under_other_ids(kafka: str, topics: Topics) -> None:
    for _ in range(2):
        await fed(kafka, topics, FeedOptions(accounts=4, rate=UNLIMITED, limit=20, seed=7))
    found = await transfers(kafka, topics)
    assert len({record.id for record in found}) == len(found) == 80
    moved = Counter((record.id.split("-", 1)[1], record.account, record.amount) for record in found)
    assert set(moved.values()) == {2}


async def beyond(feed: Feed, transfers: int) -> bool:
    return feed.transfers > transfers


async def test_a_new_feed_throws_the_old_one_out(kafka: str, topics: Topics) -> None:
    """The older one takes its place back when it notices; nothing is lost or fed twice by either."""
    old, told = Feed(settings(kafka, topics), FeedOptions(rate=200.0)), asyncio.Event()
    running = asyncio.create_task(old.until(told))
    await reached(lambda: beyond(old, 0))
    new = await fed(kafka, topics, FeedOptions(rate=UNLIMITED, limit=5))
    before = old.transfers
    await reached(lambda: beyond(old, before))
    told.set()
    await running
    found = Counter(record.id for record in await transfers(kafka, topics))
    assert set(found.values()) == {1}
    assert len(found) == 2 * (old.transfers + new.transfers)


async def more(kafka: str, topics: Topics, than: int) -> bool:
    return len(await records(kafka, topics.transfers, topics.partitions)) > than


def process(kafka: str, topics: Topics, log: Path, *arguments: str) -> ChildProcess:
    environment = {
        **bare_environment(),
        "LIVEBALANCE_KAFKA": kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
    }
    return ChildProcess("feed", [sys.executable, "-m", "livebalance.feed", *arguments], log, environment)


def said(child: ChildProcess) -> dict[str, float]:
    found: dict[str, float] = json.loads(next(line for line in child.tail() if line.startswith('{"run"')))
    return found


async def test_it_says_at_the_end_what_was_acknowledged(kafka: str, topics: Topics, tmp_path: Path) -> None:
    feed = process(kafka, topics, tmp_path / "log", "--rate", "100", "--json")
    feed.start()
    await reached(lambda: more(kafka, topics, than=0))
    feed.stop()
    assert feed.exit_code == 0
    count = len(await transfers(kafka, topics))
    assert said(feed)["records"] == count == 2 * said(feed)["transfers"]
    assert said(feed)["opened"] == 8


async def test_killed_and_started_again_it_leaves_whole_transfers(
    kafka: str, topics: Topics, tmp_path: Path
) -> None:
    feed = process(kafka, topics, tmp_path / "log", "--rate", "max")
    for _ in range(3):
        feed.start()
        count = len(await records(kafka, topics.transfers, topics.partitions))
        await reached(partial(more, kafka, topics, than=count))
        feed.send(signal.SIGKILL)
        feed.stop()
    await fed(kafka, topics, FeedOptions(rate=UNLIMITED, limit=1))
    sides = Counter(record.id.rsplit("-", 1)[0] for record in await transfers(kafka, topics))
    assert set(sides.values()) == {2}
    assert len(await balances(kafka, topics)) == 8
