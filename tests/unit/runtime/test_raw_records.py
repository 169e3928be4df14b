"""Records that a consumer of aiokafka returns. If aiokafka changes, these tests fail."""

from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given
from hypothesis import strategies as st

from livebalance.runtime.kafka import raw_records  # noqa: F401 - consumers return RawRecords
from livebalance.wire.kafka.raw_record import RawRecord
from tests.servers.raw_producer import encode_batch
from tests.unit.wire.test_raw_record import headers

PARTITION = TopicPartition("transfers", 3)

keys = st.none() | st.binary(max_size=9)
records = st.lists(
    st.builds(
        RawRecord,
        st.just("transfers"),
        st.just(3),
        st.just(0),
        st.integers(0, 2**45),
        keys,
        keys,
        headers,
        st.none(),
    ),
    min_size=1,
    max_size=5,
)


def record(*names: bytes, offset: int = 0) -> RawRecord:
    return RawRecord("transfers", 3, offset, 7, b"k", b"v", tuple((name, b"1") for name in names))


def read(data: bytes, start: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> tuple[list[RawRecord], int]:
    """Returns the records as aiokafka's fetcher reads them, and the next offset that it fetches."""
    partition_records = fetcher.PartitionRecords(
        PARTITION, fetcher.MemoryRecords(data), aborted, start, None, None, True, fetcher.READ_COMMITTED
    )
    fetched = [raw._replace(headers=tuple(raw.headers)) for raw in partition_records]
    return fetched, partition_records.next_fetch_offset


def numbered(batch: list[RawRecord], first: int) -> list[RawRecord]:
    return [raw._replace(offset=offset) for offset, raw in enumerate(batch, first)]


@given(records)
def test_any_record_is_returned_unchanged(batch: list[RawRecord]) -> None:
    fetched, offset = [], 0
    data = encode_batch(batch)
    while offset < len(batch):
        more, offset = read(data, offset)
        fetched += more
    assert fetched == numbered(batch, 0)


def test_aiokafka_cannot_read_header_names_that_are_not_utf8() -> None:
    """Why this module exists: once aiokafka reads them, it can go."""
    batch = MemoryRecords(encode_batch([record(b"\xff")])).next_batch()
    assert batch is not None
    with pytest.raises(UnicodeDecodeError):
        list(batch)


def test_read_stops_before_the_first_such_name_and_continues_there() -> None:
    first = encode_batch([record(b"h")])
    second = encode_batch([record(b"h"), record(b"\xff"), record(b"h")], 1)
    assert read(first + second) == (numbered([record(b"h")] * 2, 0), 2)
    assert read(second, 2) == (numbered([record(b"\xff"), record(b"h")], 2), 4)


def test_records_of_an_aborted_transaction_are_not_returned() -> None:
    """The transaction of producer 5 began before the first offset that is read."""
    data = encode_batch([record(b"\xff")], 1, producer_id=6) + encode_batch(
        [record(b"\xff")], 2, producer_id=5
    )
    assert read(data, 1, aborted=[(5, 0)]) == ([record(b"\xff", offset=1)], 3)


def test_damaged_batch_is_a_record_without_content_after_those_before_it() -> None:
    good, bad = encode_batch([record(b"h")]), bytearray(encode_batch([record(b"\xff")], 1))
    bad[-1] ^= 1
    assert read(good + bytes(bad)) == ([record(b"h")], 1)
    reason = "CorruptRecordException"
    damaged = RawRecord("transfers", 3, 1, 0, None, None, unreadable=reason)
    assert read(bytes(bad), 1) == ([damaged], 2)
