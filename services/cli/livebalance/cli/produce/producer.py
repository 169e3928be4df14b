"""Writes transfers to their topic, with the same keys and partitions as every other producer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaProducer

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.runtime.schema.values import Values
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.record import Transfer

TIMEOUT_SECONDS = 15.0  # for each call of Kafka


class TransferProducer:
    """Writes batches of transfers; with transactions, a batch becomes visible as a whole."""

    def __init__(self, name: str, codec: Codec, kafka: AIOKafkaProducer, transactions: bool) -> None:
        self._name, self._codec, self._producer, self._transactions = name, codec, kafka, transactions

    async def write(self, transfers: Sequence[Transfer]) -> None:
        """Returns when Kafka has acknowledged all transfers.

        Raises:
            TimeoutError, OSError, KafkaError: some of the transfers may be in the topic all the same.
        """
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if self._transactions:
                await self._producer.begin_transaction()
            await send_all(self._producer, map(self._record, transfers))
            if self._transactions:
                await self._producer.commit_transaction()

    def _record(self, transfer: Transfer) -> OutgoingRecord:
        return OutgoingRecord(self._name, transfer.account.encode(), self._codec.encode_transfer(transfer))


@contextlib.asynccontextmanager
async def connect(settings: ServiceSettings, transactional_id: str | None) -> AsyncIterator[TransferProducer]:
    """Connects to Kafka and yields a producer. With a `transactional_id` it writes transactions.

    Raises:
        StartupError: the schema registry does not accept the schema.
        TimeoutError, OSError, KafkaError: Kafka failed, or the topic is missing.
    """
    values = Values(settings)
    kafka = create_producer(settings.broker, settings.name, transactional_id)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await values.register_schemas("transfer")
            await kafka.start()
            await kafka.partitions_for(settings.transfers_topic)  # raises if the topic is missing
        yield TransferProducer(settings.transfers_topic, values.codec, kafka, transactional_id is not None)
    finally:
        await stop_producer(kafka)
