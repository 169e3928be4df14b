"""One input partition: its fencing producer, its ledger, and the next offset to apply."""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator

from aiokafka import TopicPartition

from livebalance.recorder import metrics
from livebalance.recorder.ledger import Decision, Ledger, Verdict
from livebalance.recorder.restore import SOURCE_OFFSET, Restore
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.runtime.kafka.raw_records import UnreadableRecordError
from livebalance.runtime.process import failpoints
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.timestamp import Millis

_log = logs.get("recorder")

StartOffset = Callable[[], Awaitable[int | None]]  # asks Kafka for the offset to start at
DecodedTransfer = tuple[Offset, bytes | None, Transfer]  # with its offset and key
NewBalance = tuple[Offset, Balance]  # with the offset of the transfer that makes it


def transactional_id(topic: str, partition: Lane) -> str:
    """Returns the transactional id of a partition, the same for every recorder.

    Starting a producer with this id fences the previous owner of the partition (docs/guarantees.md#zombies).
    """
    return f"recorder-{topic}-{partition}"


class Partition:
    """Owns a partition from `claim` to `release`, or until another recorder claims it.

    Then every call raises ProducerFenced. After any error only `release` may be called, because the ledger
    can be ahead of the topic.
    """

    def __init__(self, settings: RecorderSettings, values: Values, partition: Lane) -> None:
        self._settings, self._values, self._partition = settings, values, partition
        self._source = TopicPartition(settings.transfers_topic, partition)
        self._restore = Restore(settings, values, partition)
        producer_id = transactional_id(settings.transfers_topic, partition)
        self._producer = create_producer(settings.broker, settings.name, producer_id)
        self._ledger = Ledger(0)
        self.next_offset = Offset(0)
        self.newest: Millis | None = None  # Kafka's timestamp of the last applied transfer
        self.assignment = 0  # number of the assignment in which the consumer was set to `next_offset`

    async def claim(self, start_offset: StartOffset) -> None:
        """Becomes the only owner of the partition, and restores the ledger.

        The producer starts first, which fences the previous owner and ends its open transaction. Only then
        are the offset and the balances read, because they can no longer change (docs/guarantees.md#zombies).
        """
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            await self._producer.start()
            self.next_offset = Offset(await start_offset() or 0)
        self._ledger = await self._restore.ledger(self.next_offset)

    async def record(self, batch: list[RawRecord]) -> None:
        """Applies a batch, and commits its balances and offset in a single Kafka transaction."""
        await self._values.fetch_schemas(record.value for record in batch)
        with metrics.seconds.labels("apply").time():
            decisions = await self._apply(batch)
        next_offset = Offset(batch[-1].offset + 1)
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            balances = [(offset, balance) for offset, each in decisions for balance in each.balances]
            await self._commit(balances, next_offset)
        self.next_offset, self.newest = next_offset, Millis(batch[-1].timestamp)
        self._count(decisions)

    async def _apply(self, batch: list[RawRecord]) -> list[tuple[Offset, Decision]]:
        transfers = list(self._decode(batch))
        if self._ledger.has_unknown_account(transfer for _, _, transfer in transfers):
            # Inside the transaction this read would wait for the transaction itself to end (decision 7).
            await self._restore.read_new_balances(self._ledger)
        return [(offset, self._ledger.apply(offset, key, transfer)) for offset, key, transfer in transfers]

    def _decode(self, batch: list[RawRecord]) -> Iterator[DecodedTransfer]:
        for record in batch:
            if record.unreadable:
                raise UnreadableRecordError(record)
            try:
                transfer = self._values.codec.decode_transfer(record.value or b"")
            except DecodeError as error:
                metrics.transfers.labels(metrics.UNDECODABLE).inc()
                self._log_skipped(record.offset, str(error))
            else:
                yield Offset(record.offset), record.key, transfer

    async def _commit(self, balances: list[NewBalance], next_offset: Offset) -> None:
        producer, group = self._producer, self._settings.recorder_group
        with metrics.seconds.labels("send").time():
            await producer.begin_transaction()
            offsets = producer.send_offsets_to_transaction({self._source: next_offset}, group)
            await asyncio.gather(send_all(producer, map(self._outgoing, balances)), offsets)
        failpoints.at("recorder_before_commit")
        with metrics.seconds.labels("commit").time():
            await producer.commit_transaction()
        failpoints.at("recorder_after_commit")

    def _outgoing(self, new_balance: NewBalance) -> OutgoingRecord:
        offset, balance = new_balance
        key, value = balance.account.encode(), self._values.codec.encode_balance(balance)
        headers = ((SOURCE_OFFSET, str(offset).encode()),)
        return OutgoingRecord(self._settings.balances_topic, key, value, self._partition, headers)

    def _count(self, decisions: list[tuple[Offset, Decision]]) -> None:
        for verdict, count in Tally(decision.verdict for _, decision in decisions).items():
            metrics.transfers.labels(verdict).inc(count)
        for offset, decision in decisions:
            if decision.verdict is Verdict.REJECTED:
                self._log_skipped(offset, decision.reason)

    def _log_skipped(self, offset: int, reason: str) -> None:
        _log.warning("transfer skipped", partition=self._partition, offset=offset, reason=reason)

    async def release(self) -> None:
        """Stops the producer, in any state. The next claim ends a transaction that is still open."""
        await stop_producer(self._producer)
