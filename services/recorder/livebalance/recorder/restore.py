"""Restores a partition's ledger from Kafka: balances, and the transfer ids before the next offset."""

from aiokafka import TopicPartition

from livebalance.recorder.ledger import NO_OFFSET, Ledger
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.kafka.reader import read_range
from livebalance.runtime.schema.values import Values
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected, decode_balance

SOURCE_OFFSET = "source-offset"  # header of a balance record: offset of the last transfer in it
_MAX_DIGITS = 20  # of an int64

_log = logs.get("recorder")


class Restore:
    """Reads both topics of a partition number into a ledger."""

    def __init__(self, settings: RecorderSettings, values: Values, partition: Lane) -> None:
        self._settings, self._values = settings, values
        self._transfers = TopicPartition(settings.transfers_topic, partition)
        self._balances = TopicPartition(settings.balances_topic, partition)
        self._balances_offset = 0  # next offset to read
        self._timeout_seconds = settings.kafka_timeout_seconds

    async def ledger(self, next_offset: Offset) -> Ledger:
        """Returns a ledger that can apply transfers from `next_offset` on. Raises TimeoutError."""
        ledger = Ledger(self._settings.duplicate_window_offsets)
        await self.read_new_balances(ledger)

        def on_record(record: RawRecord) -> None:
            try:
                transfer = self._values.codec.decode_transfer(record.value or b"")
            except DecodeError:
                return
            ledger.remember_id(Offset(record.offset), record.key, transfer)

        start = max(0, next_offset - self._settings.duplicate_window_offsets)
        await read_range(
            self._settings.broker,
            self._transfers,
            on_record,
            start,
            end=next_offset,
            timeout_seconds=self._timeout_seconds,
            prepare=self._values.fetch_schemas,
        )
        return ledger

    async def read_new_balances(self, ledger: Ledger) -> None:
        """Restores the balances that were written since the last call. Raises TimeoutError."""

        def on_record(record: RawRecord) -> None:
            self._restore_balance(ledger, record)

        self._balances_offset = await read_range(
            self._settings.broker,
            self._balances,
            on_record,
            self._balances_offset,
            timeout_seconds=self._timeout_seconds,
            prepare=self._values.fetch_schemas,
        )

    def _restore_balance(self, ledger: Ledger, record: RawRecord) -> None:
        balance = decode_balance(record, self._values.codec)
        if isinstance(balance, Erasure):
            ledger.remove(balance.account)
        elif isinstance(balance, Rejected):
            at, reason = record.offset, balance.reason
            _log.warning("balance rejected", partition=record.partition, offset=at, reason=reason)
        else:
            ledger.restore(balance, _source_offset(record))


def _source_offset(record: RawRecord) -> Offset:
    header = dict(record.headers).get(SOURCE_OFFSET.encode()) or b""
    return Offset(int(header)) if header.isdigit() and len(header) < _MAX_DIGITS else NO_OFFSET
