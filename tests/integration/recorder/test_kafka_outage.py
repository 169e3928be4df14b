"""Kafka is killed and restarted while the feed and a recorder run."""

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
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import read_balances, read_transfers, wait_until
from tests.servers.database import Database
from tests.servers.disposable import disposable_servers

LIMIT = 400


@pytest.fixture
def own(paths: StatePaths, tmp_path: Path) -> Iterator[Servers]:
    with disposable_servers(StatePaths(paths.home, tmp_path), "kafka") as servers:
        yield servers


async def test_kafka_outage_loses_and_repeats_nothing(own: Servers, database: Database) -> None:
    topics, kafka = Topics(partitions=3), own.kafka
    await topics.create(Broker(kafka))
    feed = Feed(FeedSettings(kafka=kafka), FeedOptions(rate=100.0, limit=LIMIT))

    async def is_fed(count: int) -> bool:
        return feed.transfers >= count

    async def is_recorded() -> bool:
        versions = [written.balance.version for written in await read_balances(kafka, topics)]
        return sum(version > 0 for version in versions) >= 2 * LIMIT

    async with running_recorder(settings(kafka, topics, database)):
        feeding = asyncio.create_task(feed.run(asyncio.Event()))
        await wait_until(lambda: is_fed(LIMIT // 10))
        broker = own.embedded["kafka"]
        broker.child.kill()
        broker.child.start()
        await asyncio.to_thread(broker.ready)
        assert feed.transfers < LIMIT
        await asyncio.wait_for(feeding, 90)
        await wait_until(is_recorded, 90)
    sent: Counter[str] = Counter(record.id for record in await read_transfers(kafka, topics))
    applied: Counter[str] = Counter(
        written.balance.transfer_id for written in await read_balances(kafka, topics)
    )
    assert len(sent) == 2 * LIMIT
    assert applied.pop("") == feed.opened == 8
    assert applied == Counter(sent.keys())
