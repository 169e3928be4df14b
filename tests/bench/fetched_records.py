"""Measures how fast fetched records become Python objects, by aiokafka alone and as RawRecords.

`python -m tests.bench.fetched_records` prints µs per record. It needs no server.
"""

import timeit
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import MemoryRecords, PartitionRecords  # before they are replaced

from livebalance.runtime.kafka import raw_records  # noqa: F401 - replaces them
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.raw_record import RawRecord
from tests.servers.raw_producer import encode_batch

RECORDS, ROUNDS = 2_000, 50
PARTITION = TopicPartition("transfers", 0)
KINDS: dict[str, Headers] = {
    "no header": (),
    "a header": ((b"source-offset", b"12345"),),
    "a header that is not UTF-8": ((b"\xff", b"12345"),),
}


def measure(data: bytes, records: type[Any], partition_records: type[Any]) -> str:
    """Returns µs per record of the fastest of several rounds, "-" if the records cannot be read."""

    def read() -> None:
        list(partition_records(PARTITION, records(data), [], 0, None, None, True, fetcher.READ_COMMITTED))

    try:
        return f"{min(timeit.repeat(read, number=1, repeat=ROUNDS)) / RECORDS * 1e6:.2f}"
    except UnicodeDecodeError:
        return "-"


def main() -> None:
    print(f"{'µs per record':<28}{'aiokafka':>10}{'RawRecord':>10}")
    for name, headers in KINDS.items():
        data = encode_batch([RawRecord("", 0, 0, 0, b"key", bytes(60), headers)] * RECORDS)
        alone = measure(data, MemoryRecords, PartitionRecords)
        raw = measure(data, fetcher.MemoryRecords, fetcher.PartitionRecords)
        print(f"{name:<28}{alone:>10}{raw:>10}")


if __name__ == "__main__":
    main()
