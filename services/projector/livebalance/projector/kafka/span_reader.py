"""Reads spans of offsets of any partitions, for the comparison of Kafka with SQL."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.runtime.kafka.client import start_client
from livebalance.runtime.kafka.connection import Broker
from livebalance.wire.identity import Offset
from livebalance.wire.kafka.raw_record import RawRecord

_READ_SECONDS = 15.0
_WAIT_MS = 100
_FETCH_BYTES = 256 * 1024  # about a span: what is fetched beyond it is discarded


class SpanReader:
    """A consumer outside any group. Its methods raise the errors of aiokafka, and TimeoutError."""

    def __init__(self, broker: Broker, name: str) -> None:
        self._consumer = AIOKafkaConsumer(
            **broker.options,
            client_id=f"{name}-reconciliation",
            enable_auto_commit=False,
            auto_offset_reset="none",  # a jump would look like missing records
            isolation_level="read_committed",
            fetch_max_wait_ms=_WAIT_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )

    async def __aenter__(self) -> "SpanReader":
        """Connects."""
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await start_client(self._consumer)
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnects."""
        await self._consumer.stop()

    async def first_offset(self, partition: TopicPartition) -> Offset:
        """Returns the offset of the first record that Kafka still has."""
        async with asyncio.timeout(_READ_SECONDS):
            first: Offset = (await self._consumer.beginning_offsets([partition]))[partition]
            return first

    async def read(self, partition: TopicPartition, start: Offset, end: Offset) -> list[RawRecord]:
        """Returns the committed records from `start` to before `end`, which must be committed.

        Records that are damaged are `unreadable`.
        """
        records: list[RawRecord] = []
        self._consumer.assign([partition])
        self._consumer.seek(partition, start)
        async with asyncio.timeout(_READ_SECONDS):
            while await self._consumer.position(partition) < end:
                fetched = await self._consumer.getmany(partition, timeout_ms=_WAIT_MS, max_records=500)
                records += (record for record in fetched.get(partition, ()) if record.offset < end)
        return records
