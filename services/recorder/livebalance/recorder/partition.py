"""One input partition: its fencing producer, its ledger, and the next offset to apply."""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from aiokafka import TopicPartition

from livebalance.readmodel.rows import RecorderLane, SourceIdentity, quarantine_row
from livebalance.recorder import metrics
from livebalance.recorder.checkpoint import AccountStorage, Log
from livebalance.recorder.halt import (
    HaltedError,
    SourceCheck,
    partitions_reason,
    topics_reason,
    unreadable_reason,
)
from livebalance.recorder.ledger import REJECTS, Decision, Ledger, Verdict
from livebalance.recorder.restore import Restore
from livebalance.recorder.settings import RecorderSettings
from livebalance.recorder.store import Store
from livebalance.runtime import logs
from livebalance.runtime.kafka.client import start_client
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.runtime.kafka.raw_records import UnreadableRecordError
from livebalance.runtime.process import failpoints
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.lifecycle import Opened, encode_lifecycle
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.kafka.source import SOURCE, SOURCE_OFFSET, Source, fingerprint
from livebalance.wire.timestamp import Millis, limited_millis

_log = logs.get("recorder")


class Offsets(NamedTuple):
    """Offsets of the partition of transfers, as Kafka reports them, and of the partition of balances."""

    first: int
    end: int  # the last stable offset
    next: int  # the group's offset, or the configured start if the group has none
    first_balance: int
    end_of_balances: int


ReadOffsets = Callable[[], Awaitable[Offsets]]
DecodedTransfer = tuple[RawRecord, Transfer | DecodeError]
Decided = tuple[RawRecord, Decision]
NewBalance = tuple[Source, Balance]


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

    def __init__(
        self,
        settings: RecorderSettings,
        values: Values,
        store: Store,
        partition: Lane,
        *,
        storage: AccountStorage,
        lifecycle_topic: str | None = None,
    ) -> None:
        self._settings, self._values, self._store = settings, values, store
        self._partition, self._storage = partition, storage
        self._lifecycle_topic = lifecycle_topic  # None: there is none, so openings are not kept
        self._source = TopicPartition(settings.transfers_topic, partition)
        producer_id = transactional_id(settings.transfers_topic, partition)
        self._producer = create_producer(settings.broker, settings.name, producer_id)
        self._check: SourceCheck | None = None
        self._restore: Restore | None = None
        self._ledger = Ledger(0)
        self._written: list[int] = []  # offsets of the balances in the last transaction that has any
        self._rejects = 0  # consecutive rejected transfers up to the last transfer applied
        self.identity: SourceIdentity | None = None  # of the topics that were claimed
        self.next_offset = Offset(0)
        self.end_offset = Offset(0)  # of the transfers, when the partition was claimed
        self.newest: Millis | None = None  # Kafka's timestamp of the last applied transfer
        self.assignment = 0  # number of the assignment in which the consumer was set to `next_offset`

    async def claim(self, identity: SourceIdentity, read_offsets: ReadOffsets) -> None:
        """Becomes the only owner of the partition, and restores the ledger.

        The producer starts first, which fences the previous owner and ends its open transaction. Only then
        are the offset and the balances read, because they can no longer change (docs/guarantees.md#zombies).

        Args:
            identity: Of the two topics as they are now.
            read_offsets: Asks Kafka for the partition's offsets.

        Raises:
            HaltedError: The partition is halted, or the topics are not those that were read before.
            UnreadableRecordError: A record that the ledger is restored from is damaged.
        """
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            await start_client(self._producer)
            offsets = await read_offsets()
        self.next_offset, self.end_offset = Offset(offsets.next), Offset(offsets.end)
        lane = await self._store.read_lane(self._partition, identity)
        self._halt_unless_readable(lane, identity, offsets)
        if lane.start_offset is not None:
            await self._commit([], self.next_offset)
        other_topic = lane.identity.transfers_id != identity.transfers_id
        check = self._check = SourceCheck(
            identity.transfers_id,
            self._source.topic,
            self._partition,
            accepts_others=lane.other_sources or lane.continued,
            trusts_offsets=not (lane.other_sources or other_topic),
        )
        check.end = self.end_offset
        await self._restore_ledger(identity, check, offsets, rebuild=lane.continued)
        if lane.continued:
            await self._store.accept_lane(self._partition, identity, check.others or other_topic)
        self.identity = identity

    def _halt_unless_readable(self, lane: RecorderLane, identity: SourceIdentity, offsets: Offsets) -> None:
        if lane.halted_why is not None:
            raise HaltedError(lane.halted_why)
        topics = self._settings.transfers_topic, self._settings.balances_topic
        if lane.start_offset is not None:
            self.next_offset = lane.start_offset
        if reason := (
            partitions_reason(lane.identity, identity)
            or (None if lane.continued else topics_reason(lane.identity, identity, topics))
            or unreadable_reason(self._source.topic, offsets.first, offsets.end, self.next_offset)
        ):
            raise HaltedError(reason)

    async def _restore_ledger(
        self, identity: SourceIdentity, check: SourceCheck, offsets: Offsets, *, rebuild: bool
    ) -> None:
        own = f"{identity.transfers_id}/{self._partition}@".encode()
        balances = self._settings.balances_topic
        lost = await self._store.rejected_offsets(balances, self._partition, Offset(0))
        restore = self._restore = Restore(
            self._settings, self._values, self._partition, check, own=own, storage=self._storage, lost=lost
        )
        first = Offset(self.next_offset - self._settings.duplicate_window_offsets)
        rejected = await self._store.rejected_offsets(self._source.topic, self._partition, first)
        origin = f"{identity.transfers_id} {identity.balances_id} {check.trusts_offsets}"
        log = Log(offsets.first_balance, offsets.end_of_balances, offsets.end)
        self._ledger = await restore.ledger(self.next_offset, rejected, origin, log, rebuild=rebuild)

    @property
    def restore_progress(self) -> str:
        """How far the balances are restored."""
        return self._restore.progress if self._restore else "reading offsets"

    @property
    def is_save_due(self) -> bool:
        """Whether `record` should be called even without transfers, to save the accounts."""
        return self._restore is not None and self._restore.is_save_due

    async def record(self, batch: list[RawRecord]) -> None:
        """Applies a batch, and commits its balances and offset in a single Kafka transaction.

        Rejected transfers are in the quarantine before the transaction moves past them (decision 18).
        An empty batch only reads what others have written to the topic of balances.

        Raises:
            HaltedError: Too many consecutive transfers were rejected. Those before are committed.
            UnreadableRecordError: A transfer is damaged. Those before are committed.
        """
        assert self._restore
        assert self._check
        readable = [*takewhile(lambda record: record.unreadable is None, batch)]
        await self._restore.read_new_balances(self._written)
        with metrics.seconds.labels("apply").time():
            decided = await self._apply(readable)
        rejected = [(record, decision) for record, decision in decided if decision.verdict in REJECTS]
        await self._store.quarantine(
            [quarantine_row(record, decision.reason) for record, decision in rejected]
        )
        if decided:
            last = decided[-1][0]
            next_offset = Offset(last.offset + 1)
            balances = list(self._balances(decided))
            await self._commit(balances, next_offset)
            if balances:
                self._check.advance(balances[-1][0])
            self.next_offset, self.newest = next_offset, limited_millis(last.timestamp)
            self._check.end = max(self._check.end, next_offset)
            self._count(decided)
        if len(decided) < len(readable):
            limit = self._settings.max_consecutive_rejects
            raise HaltedError(f"more than {limit} consecutive transfers were rejected")
        if len(readable) < len(batch):
            raise UnreadableRecordError(batch[len(readable)])

    async def _apply(self, batch: list[RawRecord]) -> list[Decided]:
        """Decides up to the transfer that makes too many consecutive rejects, without this transfer."""
        assert self._restore
        transfers = [self._decode(record) for record in batch]
        known = [transfer for _, transfer in transfers if isinstance(transfer, Transfer)]
        await self._restore.load(transfer.account for transfer in known)
        if self._ledger.has_unknown_account(known):
            # Inside the transaction this read would wait for the transaction itself to end (decision 7).
            await self._restore.read_all_balances()
            await self._restore.load(transfer.account for transfer in known)
        decided: list[Decided] = []
        for record, transfer in transfers:
            decision = (
                Decision(Verdict.UNDECODABLE, reason=str(transfer))
                if isinstance(transfer, DecodeError)
                else self._ledger.apply(Offset(record.offset), record.key, transfer)
            )
            self._rejects = self._rejects + 1 if decision.verdict in REJECTS else 0
            if self._rejects > self._settings.max_consecutive_rejects:
                break
            decided.append((record, decision))
        return decided

    def _decode(self, record: RawRecord) -> DecodedTransfer:
        if record.value is None:
            return record, DecodeError("no value")
        try:
            return record, self._values.codec.decode_transfer(record.value)
        except DecodeError as error:
            return record, error

    def _balances(self, decided: Sequence[Decided]) -> Iterable[NewBalance]:
        assert self.identity
        for record, decision in decided:
            if decision.balances:
                digest = fingerprint(record.key, record.value, record.timestamp)
                topic_id, offset = self.identity.transfers_id, Offset(record.offset)
                source = Source(topic_id, self._partition, offset, digest)
                for balance in decision.balances:
                    yield source, balance

    async def _commit(self, balances: list[NewBalance], next_offset: Offset) -> None:
        producer, group = self._producer, self._settings.recorder_group
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            with metrics.seconds.labels("send").time():
                await producer.begin_transaction()
                offsets, _ = await asyncio.gather(
                    send_all(producer, map(self._outgoing, balances)),
                    send_all(producer, self._openings(balances)),
                )
                # Not at the same time: a broker verifies both with the transaction's coordinator. The later
                # verification cancels an earlier one of the same id, which fails with NOT_ENOUGH_REPLICAS.
                await producer.send_offsets_to_transaction({self._source: next_offset}, group)
            failpoints.at("recorder_before_commit")
            with metrics.seconds.labels("commit").time():
                await producer.commit_transaction()
            failpoints.at("recorder_after_commit")
        self._written = offsets or self._written

    def _outgoing(self, new_balance: NewBalance) -> OutgoingRecord:
        source, balance = new_balance
        key, value = balance.account.encode(), self._values.codec.encode_balance(balance)
        # Older recorders read the second header only.
        headers = ((SOURCE, source.encode()), (SOURCE_OFFSET, str(source.offset).encode()))
        return OutgoingRecord(self._settings.balances_topic, key, value, self._partition, headers)

    def _openings(self, balances: Iterable[NewBalance]) -> Iterable[OutgoingRecord]:
        """Returns the records of the accounts that these balances open, for the lifecycle topic."""
        opened = (balance for _, balance in balances if balance.version == 0 and self._lifecycle_topic)
        for balance in opened:
            value = encode_lifecycle(Opened(balance.account, balance.amount))
            key = balance.account.encode()
            yield OutgoingRecord(self._lifecycle_topic or "", key, value, self._partition)

    def _count(self, decided: Sequence[Decided]) -> None:
        for verdict, count in Tally(decision.verdict for _, decision in decided).items():
            metrics.transfers.labels(verdict).inc(count)
        for record, decision in decided:
            if decision.verdict in REJECTS:
                _log.warning(
                    "transfer rejected",
                    partition=self._partition,
                    offset=record.offset,
                    reason=decision.reason,
                )

    async def release(self) -> None:
        """Stops the producer, in any state. The next claim ends a transaction that is still open."""
        try:
            await stop_producer(self._producer)
        finally:
            if self._restore:
                await self._restore.stop()
