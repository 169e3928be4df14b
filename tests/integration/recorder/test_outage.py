"""Kafka is killed under the feed and the recorder, and comes back."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.feed.feed import Feed, FeedOptions
from livebalance.feed.settings import FeedSettings
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.integration.recorder.process import recording, settings
from tests.integration.recorder.topics import balances, reached, transfers

LIMIT = 400


@pytest.fixture
def own(place: StatePaths, tmp_path: Path) -> Iterator[Servers]:
    with Servers.ours(StatePaths(place.home, tmp_path), "kafka") as servers:
        yield servers


async def test_an_outage_of_kafka_loses_and_repeats_nothing(own: Servers) -> None:
    topics, kafka = Topics(partitions=3), own.kafka
    await topics.create(Broker(kafka))
    feed = Feed(FeedSettings(kafka=kafka), FeedOptions(rate=100.0, limit=LIMIT))

    async def fed(least: int) -> bool:
        return feed.transfers >= least

    async def recorded() -> bool:
        found = [written.balance.version for written in await balances(kafka, topics)]
        return sum(version > 0 for version in found) >= 2 * LIMIT

    async with recording(settings(kafka, topics)):
        feeding = asyncio.create_task(feed.until(asyncio.Event()))
        await reached(lambda: fed(LIMIT // 10))
        broker = own.own["kafka"]
        broker.child.kill()
        broker.child.start()
        await asyncio.to_thread(broker.ready)
        assert feed.transfers < LIMIT
        await asyncio.wait_for(feeding, 90)
        await reached(recorded, 90)
    sent: Counter[str] = Counter(record.id for record in await transfers(kafka, topics))
    applied: Counter[str] = Counter(written.balance.transfer_id for written in await balances(kafka, topics))
    assert len(sent) == 2 * LIMIT
    assert applied.pop("") == feed.opened == 8
    assert applied == Counter(sent.keys())
