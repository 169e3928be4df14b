"""Writes both topics: pairs of transfer records, and the opening balances of accounts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from aiokafka import AIOKafkaProducer, TopicPartition

from livebalance.feed.settings import FeedSettings
from livebalance.generator.transfers import TransferPair
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.runtime.kafka.reader import read_range
from livebalance.runtime.kafka.topics import find_lifecycle_topic
from livebalance.runtime.schema.values import Values
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.lifecycle import Opened, encode_lifecycle
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.record import Balance, Transfer

TRANSACTIONAL_ID = "feed"  # the same for all feeds of a topic: a feed that starts fences the previous feed


class FeedProducer:
    """Writes records and waits for the acknowledgement, each call in a transaction if `transactional`.

    A call raises TimeoutError or KafkaError. After an error the producer cannot be used, and the records of
    the failed call may have been written.
    """

    def __init__(
        self, settings: FeedSettings, producer: AIOKafkaProducer, codec: Codec, transactional: bool
    ) -> None:
        self._settings, self._producer, self._transactional = settings, producer, transactional
        self._codec = codec

    async def send(self, pairs: Iterable[TransferPair]) -> None:
        """Writes both records of each pair, to the partition that the hash of the account selects."""
        async with self._transaction():
            await send_all(self._producer, (self._transfer(record) for pair in pairs for record in pair))

    async def open(self, balances: Iterable[Balance]) -> int:
        """Writes those balances whose account has none yet, and returns how many.

        If the lifecycle topic exists, the openings are written to it in the same transaction. Must be
        transactional: another feed that opens accounts between the read and the write is fenced.
        """
        settings = self._settings
        partitions = len(await self._producer.partitions_for(settings.balances_topic))
        lifecycle = await find_lifecycle_topic(settings.broker, settings.lifecycle_topic, partitions)
        known = await self._accounts_with_balance()
        missing = [balance for balance in balances if balance.account.encode() not in known]
        if missing:
            async with self._transaction():
                await send_all(self._producer, map(self._balance, missing))
                if lifecycle is not None:
                    await send_all(self._producer, (_opening(lifecycle, balance) for balance in missing))
        return len(missing)

    @contextlib.asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            if self._transactional:
                await self._producer.begin_transaction()
                yield
                await self._producer.commit_transaction()
            else:
                yield

    def _transfer(self, record: Transfer) -> OutgoingRecord:
        value = self._codec.encode_transfer(record)
        return OutgoingRecord(self._settings.transfers_topic, record.account.encode(), value)

    def _balance(self, record: Balance) -> OutgoingRecord:
        value = self._codec.encode_balance(record)
        return OutgoingRecord(self._settings.balances_topic, record.account.encode(), value)

    async def _accounts_with_balance(self) -> set[bytes]:
        """Returns the keys of the accounts that have a balance record."""
        keys: set[bytes] = set()

        def on_record(record: RawRecord) -> None:
            (keys.discard if record.value is None else keys.add)(record.key or b"")

        settings = self._settings
        for number in await self._producer.partitions_for(settings.balances_topic):
            partition = TopicPartition(settings.balances_topic, number)
            seconds = settings.kafka_timeout_seconds
            await read_range(settings.broker, partition, on_record, timeout_seconds=seconds)
        return keys


def _opening(topic: str, balance: Balance) -> OutgoingRecord:
    value = encode_lifecycle(Opened(balance.account, balance.amount))
    return OutgoingRecord(topic, balance.account.encode(), value)


@contextlib.asynccontextmanager
async def connected_producer(settings: FeedSettings, transactional: bool) -> AsyncIterator[FeedProducer]:
    """Connects a producer. If transactional, it fences the previous feed and ends its open transaction."""
    values = Values(settings)
    transactional_id = f"{TRANSACTIONAL_ID}-{settings.transfers_topic}" if transactional else None
    producer = create_producer(settings.broker, settings.name, transactional_id)
    try:
        async with asyncio.timeout(settings.kafka_timeout_seconds):
            await values.register_schemas("transfer", "balance")
            await producer.start()
        yield FeedProducer(settings, producer, values.codec, transactional)
    finally:
        await stop_producer(producer)
