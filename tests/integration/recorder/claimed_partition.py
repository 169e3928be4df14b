"""Claims partition 0 for a test, as a recorder that has been assigned it does."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.readmodel.rows import SourceIdentity
from livebalance.recorder.__main__ import _consumer
from livebalance.recorder.checkpoint import AccountStorage
from livebalance.recorder.halt import HaltedError
from livebalance.recorder.partition import Partition
from livebalance.recorder.recorder import Recorder
from livebalance.recorder.settings import RecorderSettings
from livebalance.recorder.store import Store
from livebalance.runtime.kafka.fetch import fetch
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.topic_watch import TopicWatch
from livebalance.runtime.schema.values import Values

CLAIMED = "claimed"


class ClaimedPartition:
    """Partition 0, and the consumer of the recorder that claims it."""

    def __init__(self, settings: RecorderSettings, directory: Path) -> None:
        topics = settings.transfers_topic, settings.balances_topic
        self._at = TopicPartition(settings.transfers_topic, 0)
        self._consumer: AIOKafkaConsumer = _consumer(settings)
        self._store = Store(settings.postgres.get_secret_value(), settings.name)
        self._topics = TopicWatch(settings.broker, topics)
        self._recorder = Recorder(
            settings,
            Values(settings),
            self._store,
            self._consumer,
            assignments=RebalanceListener(),
            topics=self._topics,
            storage=AccountStorage(directory),
        )
        self.partition: Partition = self._recorder._new_partition(self._at)

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign([self._at])
        await self._topics.start()

    async def stop(self) -> None:
        await self.partition.release()
        await self._topics.stop()
        await self._consumer.stop()
        await self._store.close()

    async def claim(
        self, change: Callable[[SourceIdentity], SourceIdentity] = lambda identity: identity
    ) -> str:
        """Returns CLAIMED, or why the partition halts. `change` replaces the identity of the topics."""
        identity = change(self._recorder._source_identity(await self._topics.read()))
        try:
            await self.partition.claim(identity, lambda: self._recorder._read_offsets(self._at))
        except HaltedError as halted:
            return str(halted)
        return CLAIMED

    async def record_next(self) -> int:
        """Records the transfers that wait, and returns how many there were."""
        self._consumer.seek(self._at, self.partition.next_offset)
        batch = (await fetch(self._consumer, [self._at], 10_000, 100)).get(self._at, [])
        await self.partition.record(batch)
        return len(batch)


@asynccontextmanager
async def claiming(settings: RecorderSettings, directory: Path) -> AsyncIterator[ClaimedPartition]:
    """Yields a partition that is not claimed yet. It is released at the end."""
    claimed = ClaimedPartition(settings, directory)
    await claimed.start()
    try:
        yield claimed
    finally:
        await claimed.stop()
