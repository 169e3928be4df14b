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
from livebalance.feed.initial_balance import initial_balance
from livebalance.feed.producer import connected_producer
from livebalance.feed.settings import FeedSettings
from livebalance.generator.pace import UNLIMITED
from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.lifecycle import Opened
from livebalance.wire.kafka.raw_record import decode_lifecycle
from livebalance.wire.kafka.record import rejection_reason
from livebalance.wire.money import ZERO, Money
from tests.integration.recorder.topic_records import read_balances, read_records, read_transfers, wait_until


def settings(kafka: str, topics: Topics) -> FeedSettings:
    return FeedSettings(
        kafka=kafka,
        transfers_topic=topics.transfers,
        balances_topic=topics.balances,
        lifecycle_topic=topics.lifecycle or "no-lifecycle",
    )


async def run_feed(kafka: str, topics: Topics, options: FeedOptions) -> Feed:
    feed = Feed(settings(kafka, topics), options)
    await feed.run(asyncio.Event())
    return feed


@pytest.mark.parametrize("transactional", [True, False])
async def test_transfer_is_two_records_that_sum_to_zero(
    kafka: str, topics: Topics, transactional: bool
) -> None:
    options = FeedOptions(accounts=5, rate=UNLIMITED, limit=300, transactional=transactional)
    feed = await run_feed(kafka, topics, options)
    assert (feed.transfers, feed.opened) == (300, 5)
    transfers = await read_transfers(kafka, topics)
    assert Counter(record.id for record in transfers) == {
        f"{feed.run_name}-{n}-{side}": 1 for n in range(300) for side in "dc"
    }
    total = ZERO
    for record in transfers:
        assert rejection_reason(record, record.account.encode()) is None
        assert (record.amount.unscaled < 0) == record.id.endswith("-d")
        total = total.add(record.amount)
    assert total.same_value(Money(0, 0))


async def test_both_topics_are_partitioned_as_by_java(kafka: str, topics: Topics) -> None:
    await run_feed(kafka, topics, FeedOptions(accounts=8, rate=UNLIMITED, limit=50))
    all_partitions = list(range(topics.partitions))
    for topic in (topics.transfers, topics.balances):
        for record in await read_records(kafka, topic, topics.partitions):
            assert record.partition == DefaultPartitioner()(record.key, all_partitions, all_partitions)


async def test_account_is_opened_once_by_several_feeds(kafka: str, topics: Topics) -> None:
    opened = []
    for accounts in (3, 3, 5):
        feed = await run_feed(kafka, topics, FeedOptions(accounts=accounts, rate=UNLIMITED, limit=10))
        opened.append(feed.opened)
    assert opened == [3, 0, 2]
    balances = [written.balance for written in await read_balances(kafka, topics)]
    assert sorted(balance.account for balance in balances) == [f"acc-{n:04}" for n in range(1, 6)]
    assert {(balance.version, balance.transfer_id) for balance in balances} == {(0, "")}


async def test_openings_are_written_to_the_lifecycle_topic_too(kafka: str, topics: Topics) -> None:
    await run_feed(kafka, topics, FeedOptions(accounts=5, rate=UNLIMITED, limit=10))
    opened = [
        (record.partition, decode_lifecycle(record))
        for record in await read_records(kafka, topics.lifecycle, topics.partitions)
    ]
    balances = await read_balances(kafka, topics)
    assert opened == [
        (written.partition, Opened(written.balance.account, written.balance.amount)) for written in balances
    ]


async def test_aborted_transaction_opens_an_account_in_neither_topic(kafka: str, topics: Topics) -> None:
    async with connected_producer(settings(kafka, topics), transactional=True) as producer:
        producer._producer.commit_transaction = producer._producer.abort_transaction
        assert await producer.open([initial_balance(1)]) == 1
    for topic in (topics.balances, topics.lifecycle):
        assert await read_records(kafka, topic, topics.partitions) == []


async def test_same_seed_feeds_the_same_amounts_with_other_ids(kafka: str, topics: Topics) -> None:
    for _ in range(2):
        await run_feed(kafka, topics, FeedOptions(accounts=4, rate=UNLIMITED, limit=20, seed=7))
    transfers = await read_transfers(kafka, topics)
    assert len({record.id for record in transfers}) == len(transfers) == 80
    moved = Counter((record.id.split("-", 1)[1], record.account, record.amount) for record in transfers)
    assert set(moved.values()) == {2}


async def has_fed_more(feed: Feed, than: int) -> bool:
    return feed.transfers > than


async def test_two_feeds_fence_each_other_and_lose_and_repeat_nothing(kafka: str, topics: Topics) -> None:
    """The new feed fences the old feed, which reconnects and fences the new feed."""
    old, stopping = Feed(settings(kafka, topics), FeedOptions(rate=200.0)), asyncio.Event()
    running = asyncio.create_task(old.run(stopping))
    await wait_until(lambda: has_fed_more(old, 0))
    new = await run_feed(kafka, topics, FeedOptions(rate=UNLIMITED, limit=5))
    before = old.transfers
    await wait_until(lambda: has_fed_more(old, before))
    stopping.set()
    await running
    ids = Counter(record.id for record in await read_transfers(kafka, topics))
    assert set(ids.values()) == {1}
    assert len(ids) == 2 * (old.transfers + new.transfers)


async def has_more_records(kafka: str, topics: Topics, than: int) -> bool:
    return len(await read_records(kafka, topics.transfers, topics.partitions)) > than


def feed_process(kafka: str, topics: Topics, log: Path, *arguments: str) -> ChildProcess:
    environment = {
        **bare_environment(),
        "LIVEBALANCE_KAFKA": kafka,
        "LIVEBALANCE_TRANSFERS_TOPIC": topics.transfers,
        "LIVEBALANCE_BALANCES_TOPIC": topics.balances,
    }
    return ChildProcess("feed", [sys.executable, "-m", "livebalance.feed", *arguments], log, environment)


def summary(process: ChildProcess) -> dict[str, float]:
    values: dict[str, float] = json.loads(next(line for line in process.tail() if line.startswith('{"run"')))
    return values


async def test_summary_counts_the_acknowledged_records(kafka: str, topics: Topics, tmp_path: Path) -> None:
    feed = feed_process(kafka, topics, tmp_path / "log", "--rate", "100", "--json")
    feed.start()
    await wait_until(lambda: has_more_records(kafka, topics, than=0))
    feed.stop()
    assert feed.exit_code == 0
    count = len(await read_transfers(kafka, topics))
    assert summary(feed)["records"] == count == 2 * summary(feed)["transfers"]
    assert summary(feed)["opened"] == 8


async def test_feed_that_is_killed_and_restarted_writes_whole_transfers(
    kafka: str, topics: Topics, tmp_path: Path
) -> None:
    feed = feed_process(kafka, topics, tmp_path / "log", "--rate", "max")
    for _ in range(3):
        feed.start()
        count = len(await read_records(kafka, topics.transfers, topics.partitions))
        await wait_until(partial(has_more_records, kafka, topics, than=count))
        feed.send(signal.SIGKILL)
        feed.stop()
    await run_feed(kafka, topics, FeedOptions(rate=UNLIMITED, limit=1))
    sides = Counter(record.id.rsplit("-", 1)[0] for record in await read_transfers(kafka, topics))
    assert set(sides.values()) == {2}
    assert len(await read_balances(kafka, topics)) == 8
