"""The topic of transfers as the command line writes it: keyed and placed as every producer of it does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaProducer

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.producer import OutgoingRecord, producer, stop, write
from livebalance.runtime.schema.values import Values
from livebalance.wire.kafka.codec import Codec
from livebalance.wire.kafka.record import Transfer

DEADLINE = 15.0  # seconds that one step may wait for Kafka


class TransferProducer:
    """Its writes are acknowledged when they return; with transactions, each is seen as a whole or not at all.

    Raises TimeoutError, OSErrors and KafkaErrors; then what it wrote may be there.
    """

    def __init__(self, name: str, codec: Codec, kafka: AIOKafkaProducer, transactions: bool) -> None:
        self._name, self._codec, self._producer, self._transactions = name, codec, kafka, transactions

    async def write(self, transfers: Sequence[Transfer]) -> None:
        async with asyncio.timeout(DEADLINE):
            if self._transactions:
                await self._producer.begin_transaction()
            await write(self._producer, map(self._record, transfers))
            if self._transactions:
                await self._producer.commit_transaction()

    def _record(self, transfer: Transfer) -> OutgoingRecord:
        return OutgoingRecord(self._name, transfer.account.encode(), self._codec.write_transfer(transfer))


@contextlib.asynccontextmanager
async def connected(
    settings: ServiceSettings, transactional_id: str | None
) -> AsyncIterator[TransferProducer]:
    """With an id its writes are transactions. Raises what its writes do, and RefusedError."""
    values = Values(settings)
    kafka = producer(settings.broker, settings.name, transactional_id)
    try:
        async with asyncio.timeout(DEADLINE):
            await values.begin_writing("transfer")
            await kafka.start()
            await kafka.partitions_for(settings.transfers_topic)  # before anything is sent: it must be there
        yield TransferProducer(settings.transfers_topic, values.codec, kafka, transactional_id is not None)
    finally:
        await stop(kafka)
