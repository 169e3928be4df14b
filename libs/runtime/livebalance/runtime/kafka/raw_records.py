"""Lets aiokafka's consumers return each record as a RawRecord, whatever its bytes.

Kafka does not check the names of headers, but aiokafka decodes them as UTF-8: a name that is not UTF-8
raises inside its fetcher, again and again. Importing this module replaces the two classes that the fetcher
decodes its answers with. If they meet such a name, they read the rest of the answer again in Python.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import (
    DefaultRecordBatch,
    DefaultRecordProtocol,
    _DefaultRecordBatchPy,
    _DefaultRecordPy,
)
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy
from aiokafka.record.util import decode_varint

from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.raw_record import RawRecord

_new_tuple = tuple.__new__


class UnreadableRecordError(Exception):
    """A record that is needed is `unreadable`."""

    def __init__(self, record: RawRecord) -> None:
        super().__init__(
            f"{record.topic}/{record.partition} cannot be read at {record.offset}: {record.unreadable}"
        )


class _FetchedRecords:
    """aiokafka's MemoryRecords, and the bytes that it reads."""

    def __init__(self, data: bytes) -> None:
        records = MemoryRecords(data)
        self.data = data
        self.has_next, self.next_batch = records.has_next, records.next_batch
        self.size_in_bytes = records.size_in_bytes


class _AnyHeaderRecords(_MemoryRecordsPy):  # type: ignore[misc]  # final for type checkers only
    """The batches of an answer, whose header names may be any bytes."""

    def next_batch(self, *_: int) -> Any:
        data, batch = self._next_slice, super().next_batch()
        return _AnyHeaderBatch(data) if isinstance(batch, DefaultRecordBatch) else batch


class _AnyHeaderBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final for type checkers only
    """Reads the records of a batch, format version 2. Header names that are not UTF-8 contain surrogates."""

    _pos: int

    def _read_msg(self, *_: object) -> _DefaultRecordPy:
        size = self._varint()
        end = self._pos + size
        self._pos += 1  # attributes: not used
        timestamp = self.first_timestamp + self._varint()
        offset = self.base_offset + self._varint()
        key, value = self._bytes(), self._bytes()
        headers = [((self._bytes() or b""), self._bytes()) for _ in range(self._varint())]
        if self._pos != end:
            raise CorruptRecordException(f"a record of {size} bytes has another size")
        if self.timestamp_type == self.LOG_APPEND_TIME:
            timestamp = self.max_timestamp
        names = [(name.decode("utf-8", "surrogateescape"), value) for name, value in headers]
        return _DefaultRecordPy(offset, timestamp, self.timestamp_type, key, value, names)

    def _varint(self) -> int:
        value: int
        value, self._pos = decode_varint(self._buffer, self._pos)
        return value

    def _bytes(self) -> bytes | None:
        if (size := self._varint()) < 0:
            return None
        start, self._pos = self._pos, self._pos + size
        return bytes(self._buffer[start : self._pos])


class _RawRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka's consumer has no types
    """The records of a partition in an answer."""

    next_fetch_offset: int
    _records: Any
    _aborted_transactions: list[tuple[int, int]]
    _aborted_producers: set[int]

    def _unpack_records(self) -> Iterator[RawRecord]:
        start, aborted = self.next_fetch_offset, self._aborted_transactions.copy()
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            if self.next_fetch_offset <= start:
                self._records = _AnyHeaderRecords(self._records.data)
                self._aborted_transactions, self._aborted_producers = aborted, set()
                yield from self._unpack_any_headers(start)
            # Else the records so far are returned, and aiokafka fetches the others again.
        except Exception as error:
            yield from self._unreadable(start, error)

    def _unpack_any_headers(self, start: int) -> Iterator[RawRecord]:
        try:
            yield from super()._unpack_records()
        except Exception as error:
            yield from self._unreadable(start, error)

    def _unreadable(self, start: int, error: Exception) -> Iterator[RawRecord]:
        """Returns a record without content if none was read. Else aiokafka fetches from the error on."""
        if self.next_fetch_offset <= start:
            self.next_fetch_offset = start + 1
            tp, reason = self._tp, type(error).__name__
            yield RawRecord(tp.topic, tp.partition, start, 0, None, None, unreadable=reason)

    def _consumer_record(self, tp: TopicPartition, record: DefaultRecordProtocol) -> RawRecord:
        headers: Headers = ()
        if record.headers:
            headers = [(name.encode("utf-8", "surrogateescape"), value) for name, value in record.headers]
        # As RawRecord(...) does, without the call of a function in Python for each record.
        return _new_tuple(
            RawRecord,
            (
                tp.topic,
                tp.partition,
                record.offset,
                record.timestamp,
                record.key,
                record.value,
                headers,
                None,
            ),
        )


fetcher.MemoryRecords, fetcher.PartitionRecords = _FetchedRecords, _RawRecords
