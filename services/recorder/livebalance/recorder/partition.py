"""One input partition and all that owning it means: the producer that fences, the ledger, the next offset."""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterator

from aiokafka import ConsumerRecord, TopicPartition

from livebalance.recorder import metrics
from livebalance.recorder.ledger import Entry, Ledger, Verdict
from livebalance.recorder.restore import SOURCE_OFFSET, Restore
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.producer import OutgoingRecord, producer, stop, write
from livebalance.runtime.process import failpoints
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.timestamp import Millis

_log = logs.get("recorder")

Committed = Callable[[], Awaitable[int | None]]
Incoming = tuple[Offset, bytes | None, Transfer]
Made = tuple[Offset, Balance]  # from the transfer at this offset


def transactional_id(topic: str, lane: Lane) -> str:
    """The same for every recorder: whoever starts a producer with it throws the one before out.

    A Kafka transaction carries offsets without the member or generation of its consumer, so that the group
    does not stop a paused owner when it wakes; this id does (design, rule of zombies).
    """
    return f"recorder-{topic}-{lane}"


class Partition:
    """Owned until `release`, or until another owner's claim makes every call raise ProducerFenced.

    After any error it is good for nothing but `release`: the ledger may be ahead of the topic.
    """

    def __init__(self, settings: RecorderSettings, values: Values, lane: Lane) -> None:
        self._settings, self._values, self._lane = settings, values, lane
        self._source = TopicPartition(settings.transfers_topic, lane)
        self._restore = Restore(settings, values, lane)
        name = transactional_id(settings.transfers_topic, lane)
        self._producer = producer(settings.broker, settings.name, name)
        self._ledger = Ledger(0)
        self.next = Offset(0)
        self.newest: Millis | None = None  # Kafka's time of the last transfer before it
        self.sought = 0  # the number of the assignment under which the consumer was set to `next`

    async def claim(self, committed: Committed) -> None:
        """Becomes the only owner. `committed` asks for the group's offset, or the first offset there is.

        The order is the rule: the producer first, which ends what an earlier owner left open; only then is
        what Kafka says of offsets and balances the last word.
        """
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            await self._producer.start()
            self.next = Offset(await committed() or 0)
        self._ledger = await self._restore.ledger(self.next)

    async def record(self, batch: list[ConsumerRecord]) -> None:
        """Applies a batch in one Kafka transaction with its offset, and moves `next` behind it."""
        await self._values.learn(record.value for record in batch)
        with metrics.seconds.labels("apply").time():
            entries = await self._applied(batch)
        behind = Offset(batch[-1].offset + 1)
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            await self._commit([(o, balance) for o, entry in entries for balance in entry.balances], behind)
        self.next, self.newest = behind, Millis(batch[-1].timestamp)
        self._count(entries)

    async def _applied(self, batch: list[ConsumerRecord]) -> list[tuple[Offset, Entry]]:
        transfers = list(self._decoded(batch))
        if self._ledger.unknown(transfer for _, _, transfer in transfers):
            await self._restore.read_on(self._ledger)  # before the transaction: it would wait for itself
        return [(offset, self._ledger.apply(offset, key, transfer)) for offset, key, transfer in transfers]

    def _decoded(self, batch: list[ConsumerRecord]) -> Iterator[Incoming]:
        for record in batch:
            try:
                transfer = self._values.codec.transfer(record.value or b"")
            except DecodeError as error:
                metrics.transfers.labels(metrics.UNDECODABLE).inc()
                self._skipped(record.offset, str(error))
            else:
                yield Offset(record.offset), record.key, transfer

    async def _commit(self, balances: list[Made], behind: Offset) -> None:
        kafka = self._producer
        with metrics.seconds.labels("send").time():
            await kafka.begin_transaction()
            offsets = kafka.send_offsets_to_transaction({self._source: behind}, self._settings.recorder_group)
            await asyncio.gather(write(kafka, map(self._outgoing, balances)), offsets)
        failpoints.at("recorder_before_commit")
        with metrics.seconds.labels("commit").time():
            await kafka.commit_transaction()
        failpoints.at("recorder_after_commit")

    def _outgoing(self, made: Made) -> OutgoingRecord:
        offset, balance = made
        value = self._values.codec.write_balance(balance)
        headers = ((SOURCE_OFFSET, str(offset).encode()),)
        return OutgoingRecord(
            self._settings.balances_topic, balance.account.encode(), value, self._lane, headers
        )

    def _count(self, entries: list[tuple[Offset, Entry]]) -> None:
        for verdict, count in Tally(entry.verdict for _, entry in entries).items():
            metrics.transfers.labels(verdict).inc(count)
        for offset, entry in entries:
            if entry.verdict is Verdict.REJECTED:
                self._skipped(offset, entry.reason)

    def _skipped(self, offset: int, reason: str) -> None:
        _log.warning("transfer skipped", partition=self._lane, offset=offset, reason=reason)

    async def release(self) -> None:
        """Whatever state it is in; an open transaction ends with the next claim."""
        await stop(self._producer)
