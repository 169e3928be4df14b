"""Restores a partition's ledger from Kafka, and keeps it up to date with the topic of balances."""

import asyncio
from collections.abc import Collection, Container

from aiokafka import TopicPartition

from livebalance.recorder.halt import SourceCheck
from livebalance.recorder.ledger import Ledger
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.reader import OnRecord, PartitionReader, read_range
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance
from livebalance.wire.kafka.source import SOURCE, fingerprint, source_of

_log = logs.get("recorder")


class Restore:
    """Reads both topics of a partition number into a ledger.

    Args:
        settings: Settings of the recorder.
        values: Decodes records.
        partition: The partition number.
        check: Checks the sources of the balances.
        own: Begins the header `source` of each balance that the partition's owner writes.
    """

    def __init__(
        self, settings: RecorderSettings, values: Values, partition: Lane, check: SourceCheck, own: bytes
    ) -> None:
        self._settings, self._values, self._check, self._own = settings, values, check, own
        self._transfers = TopicPartition(settings.transfers_topic, partition)
        self._balances = TopicPartition(settings.balances_topic, partition)
        self._reader = PartitionReader(settings.broker, self._balances, values.fetch_schemas)
        self._next_balance = 0  # offset of the next balance to read

    async def ledger(self, next_offset: Offset, rejected: Collection[Offset]) -> Ledger:
        """Returns a ledger that can apply transfers from `next_offset` on, and connects the reader.

        `rejected` are the offsets of transfers that were rejected before.

        Raises:
            HaltedError: The balances were made from other transfers.
            UnreadableRecordError: A record is damaged.
            TimeoutError: Kafka does not answer in time.
        """
        window = self._settings.duplicate_window_offsets
        ledger = Ledger(window, rejected, self._settings.max_scale)

        def remember_id(record: RawRecord) -> None:
            try:
                transfer = self._values.codec.decode_transfer(record.value or b"")
            except DecodeError:
                return
            ledger.remember_id(Offset(record.offset), record.key, transfer)

        def check_record(record: RawRecord) -> None:
            self._check.check_record(record.offset, fingerprint(record.key, record.value, record.timestamp))

        await self._read_balances(ledger)
        if newest := self._check.newest:
            await self._read(self._transfers, check_record, newest.offset, newest.offset + 1)
        start = max(0, next_offset - window)
        await self._read(self._transfers, remember_id, start, next_offset, rejected)
        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            await self._reader.start(self._next_balance)
        return ledger

    async def read_all_balances(self, ledger: Ledger) -> None:
        """Restores the balances since the last call, and waits for open transactions (decision 7).

        Raises:
            HaltedError: A balance was made from other transfers.
            UnreadableRecordError: A balance is damaged.
            TimeoutError: Kafka does not answer, or a transaction does not end in time.
        """
        await self._read_balances(ledger)
        self._reader.seek(self._next_balance)

    async def _read_balances(self, ledger: Ledger) -> None:
        self._next_balance = await self._read(
            self._balances, lambda record: self._restore(ledger, record), self._next_balance
        )

    async def read_new_balances(self, ledger: Ledger, written: int) -> None:
        """Applies erasures and balances of other producers that were committed since the last call.

        The ledger has the balances of this owner already, so they are skipped. A balance that follows a
        record of another producer is restored again, because the newest record of an account counts.

        Args:
            ledger: The ledger.
            written: Offset of the first balance in the last transaction of this owner; -1 if there is none.

        Raises:
            HaltedError: A balance was made from other transfers.
            UnreadableRecordError: A balance is damaged.
            TimeoutError: Kafka does not answer in time.
        """
        changed = set[bytes | None]()

        def on_record(record: RawRecord) -> None:
            if record.key in changed or not self._is_own(record):
                changed.add(record.key)
                self._restore(ledger, record)

        async with asyncio.timeout(self._settings.kafka_timeout_seconds):
            self._next_balance = await self._reader.read(on_record, written)

    async def stop(self) -> None:
        """Disconnects the reader."""
        await self._reader.stop()

    def _is_own(self, record: RawRecord) -> bool:
        return any(
            name == SOURCE and (value or b"").startswith(self._own) for name, value in record.headers
        ) and (record.value is not None)

    def _restore(self, ledger: Ledger, record: RawRecord) -> None:
        balance = decode_balance(record, self._values.codec)
        if isinstance(balance, Erasure):
            ledger.remove(balance.account, self._erased_before(balance))
        elif isinstance(balance, Rejected):
            at, reason = record.offset, balance.reason
            _log.warning("balance rejected", partition=record.partition, offset=at, reason=reason)
        else:
            ledger.restore(balance, self._check.offset(source_of(record.headers)))

    def _erased_before(self, erasure: Erasure) -> Offset | None:
        bound = erasure.transfers
        is_own = bound is not None and self._own.startswith(f"{bound.topic_id}/".encode())
        return bound.before if bound is not None and is_own else None

    async def _read(
        self,
        partition: TopicPartition,
        on_record: OnRecord,
        start: int,
        end: int | None = None,
        lost: Container[int] = (),
    ) -> int:
        return await read_range(
            self._settings.broker,
            partition,
            on_record,
            start,
            end=end,
            lost=lost,
            timeout_seconds=self._settings.kafka_timeout_seconds,
            prepare=self._values.fetch_schemas,
        )
