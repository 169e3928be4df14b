"""The two topics as the feed writes them: transfers in pairs, and the openings of accounts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition

from livebalance.feed.settings import FeedSettings
from livebalance.generator.transfers import Pair
from livebalance.runtime.kafka.producer import OutgoingRecord, producer, stop, write
from livebalance.runtime.kafka.reader import replay
from livebalance.runtime.schema.values import Values
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.record import Balance, Transfer

TRANSACTIONAL_ID = "feed"  # one feed at a time: starting one throws another out


class FeedProducer:
    """Each call is acknowledged when it returns, in one Kafka transaction unless plain.

    Raises TimeoutError and KafkaErrors; then it is good for nothing more, and what it wrote may be there.
    """

    def __init__(self, settings: FeedSettings, kafka: AIOKafkaProducer, codec: Codec, plain: bool) -> None:
        self._settings, self._producer, self._plain = settings, kafka, plain
        self._codec = codec

    async def feed(self, pairs: Iterable[Pair]) -> None:
        """Writes both records of each, where Java would put them: by the hash of the account."""
        async with self._transaction():
            await write(self._producer, (self._transfer(record) for pair in pairs for record in pair))

    async def open(self, wanted: Iterable[Balance]) -> int:
        """Opens the accounts that have no balance yet, and returns how many.

        It reads, then writes: only the fencing of others before makes that safe, so never plain.
        """
        known = await self._known()
        missing = [balance for balance in wanted if balance.account.encode() not in known]
        if missing:
            async with self._transaction():
                await write(self._producer, map(self._balance, missing))
        return len(missing)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            if self._plain:
                yield
            else:
                await self._producer.begin_transaction()
                yield
                await self._producer.commit_transaction()

    def _transfer(self, record: Transfer) -> OutgoingRecord:
        value = self._codec.write_transfer(record)
        return OutgoingRecord(self._settings.transfers_topic, record.account.encode(), value)

    def _balance(self, record: Balance) -> OutgoingRecord:
        value = self._codec.write_balance(record)
        return OutgoingRecord(self._settings.balances_topic, record.account.encode(), value)

    async def _known(self) -> set[bytes]:
        """The accounts that have a balance, by their keys."""
        known: set[bytes] = set()

        def take(record: ConsumerRecord) -> None:
            (known.discard if record.value is None else known.add)(record.key or b"")

        name = self._settings.balances_topic
        for partition in await self._producer.partitions_for(name):
            at = TopicPartition(name, partition)
            await replay(self._settings.broker, at, take, within=self._settings.kafka_timeout_seconds)
        return known


@contextlib.asynccontextmanager
async def topic(settings: FeedSettings, plain: bool) -> AsyncIterator[FeedProducer]:
    """Connected; not plain, it has fenced every feed before it and ended what that left open."""
    values = Values(settings)
    transactional_id = None if plain else f"{TRANSACTIONAL_ID}-{settings.transfers_topic}"
    kafka = producer(settings.broker, settings.name, transactional_id)
    try:
        async with asyncio.timeout(settings.kafka_timeout_seconds):
            await values.begin_writing("transfer", "balance")
            await kafka.start()
        yield FeedProducer(settings, kafka, values.codec, plain)
    finally:
        await stop(kafka)
