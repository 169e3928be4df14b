"""Two topics in memory, which a recorder's restore reads instead of Kafka."""

from collections.abc import Container, Sequence

from aiokafka import TopicPartition

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import OnRecord, Prepare, is_transaction
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.raw_record import RawRecord

FETCH = 2  # records


class TopicLogs:
    """The committed records of partition 0 of each topic, by the topic's name."""

    def __init__(self) -> None:
        self.records: dict[str, list[RawRecord]] = {"transfers": [], "account-balances": []}

    def append(self, topic: str, key: bytes, value: bytes | None, headers: Headers = ()) -> None:
        log = self.records[topic]
        log.append(RawRecord(topic, 0, len(log), 0, key, value, headers))

    async def read_range(
        self,
        kafka: Broker,
        partition: TopicPartition,
        on_record: OnRecord,
        start: int,
        *,
        end: int | None,
        lost: Container[int],
        timeout_seconds: float,
        prepare: Prepare,
    ) -> int:
        """Reads as `livebalance.runtime.kafka.reader.read_range` does."""
        records = self.records[partition.topic][start:end]
        for first in range(0, len(records), FETCH):
            fetched = records[first : first + FETCH]
            await prepare(fetched)
            for record in fetched:
                on_record(record)
        return start + len(records)

    def reader(
        self, kafka: Broker, partition: TopicPartition, prepare: Prepare, timeout_seconds: float
    ) -> "LogReader":
        return LogReader(self, partition, prepare)


class LogReader:
    """Reads as `livebalance.runtime.kafka.reader.PartitionReader` does."""

    def __init__(self, logs: TopicLogs, partition: TopicPartition, prepare: Prepare) -> None:
        self._logs, self._partition, self._prepare = logs, partition, prepare
        self._offset = 0

    async def start(self, offset: int) -> None:
        self._offset = offset

    def seek(self, offset: int) -> None:
        self._offset = offset

    async def read(self, on_record: OnRecord, own: Sequence[int], lost: Container[int] = ()) -> int:
        end = len(self._logs.records[self._partition.topic])
        if is_transaction(own, self._offset, end + 1):  # these logs have no markers
            self._offset = end
            return end
        self._offset = await self._logs.read_range(
            Broker(""),
            self._partition,
            on_record,
            self._offset,
            end=None,
            lost=lost,
            timeout_seconds=1,
            prepare=self._prepare,
        )
        return self._offset

    async def stop(self) -> None:
        pass
