"""Reads spans of offsets of any partitions, for the comparison of Kafka with SQL."""

import asyncio
from collections.abc import Iterable, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.raw_record import RawRecord

_READ_SECONDS = 15.0
_WAIT_MS = 100
_FETCH_BYTES = 256 * 1024  # about a span: what is fetched beyond it is discarded


class SpanReader:
    """Consumes transfers of some lanes outside any group. Raises errors of aiokafka, and TimeoutError."""

    def __init__(self, broker: Broker, name: str, topic: str, lanes: Iterable[Lane]) -> None:
        self._partitions = {lane: TopicPartition(topic, lane) for lane in lanes}
        self.first_offsets: Mapping[Lane, Offset] = {}  # of the records that Kafka still has
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
        partitions = [*self._partitions.values()]
        try:
            async with asyncio.timeout(_READ_SECONDS):
                await self._consumer.start()
                self._consumer.assign(partitions)
                for partition in partitions:
                    self._consumer.seek(partition, 0)
                    self._consumer.pause(partition)
                first = await self._consumer.beginning_offsets(partitions)
        except BaseException:
            await self._consumer.stop()
            raise
        self.first_offsets = {lane: first[partition] for lane, partition in self._partitions.items()}
        return self

    async def __aexit__(self, *_: object) -> None:
        """Disconnects."""
        await self._consumer.stop()

    async def read(self, lane: Lane, start: Offset, end: Offset) -> list[RawRecord]:
        """Returns the committed records from `start` to before `end`, which must be committed.

        Records that are damaged are `unreadable`.
        """
        records, partition = list[RawRecord](), self._partitions[lane]
        self._consumer.seek(partition, start)
        self._consumer.resume(partition)
        async with asyncio.timeout(_READ_SECONDS):
            while await self._consumer.position(partition) < end:
                fetched = await self._consumer.getmany(partition, timeout_ms=_WAIT_MS, max_records=500)
                records += (record for record in fetched.get(partition, ()) if record.offset < end)
        self._consumer.pause(partition)
        return records
