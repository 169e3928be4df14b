"""Writes records that ordinary producers do not write, such as header names that are not UTF-8."""

import asyncio
import struct
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, LeaderNotAvailableError, for_code
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from livebalance.runtime.kafka.connection import Broker
from livebalance.wire.kafka.raw_record import RawRecord

_TIMEOUT_MS = 30_000
_MAX_BATCH_BYTES = 2**30


class _Name(bytes):
    """The name of a header. aiokafka encodes names, which are texts."""

    def encode(self, _: str) -> bytes:
        return bytes(self)


def encode_batch(records: Sequence[RawRecord], base_offset: int = 0, producer_id: int | None = None) -> bytes:
    """Returns an uncompressed batch with these records, at ascending offsets.

    With a producer id, the batch belongs to a transaction.
    """
    transactional, id_ = producer_id is not None, -1 if producer_id is None else producer_id
    builder = _DefaultRecordBatchBuilderPy(2, 0, transactional, id_, -1, -1, _MAX_BATCH_BYTES)
    for index, record in enumerate(records):
        headers: list[tuple[str, bytes | None]] = [(_Name(name), value) for name, value in record.headers]  # type: ignore[misc]  # see _Name
        builder.append(index, record.timestamp, record.key, record.value, headers)
    batch = builder.build()
    struct.pack_into(">q", batch, 0, base_offset)  # which the checksum does not include
    return bytes(batch)


async def write_raw_records(kafka: str, partition: TopicPartition, records: Sequence[RawRecord]) -> None:
    """Writes one batch to a partition. Raises the error of the broker, unless a retry helps."""
    client = AIOKafkaClient(**Broker(kafka).options)
    await client.bootstrap()
    request = ProduceRequest(
        None, -1, _TIMEOUT_MS, [(partition.topic, [(partition.partition, encode_batch(records))])]
    )
    try:
        client.add_topic(partition.topic)
        async with asyncio.timeout(_TIMEOUT_MS / 1000):
            while error := await _produce(client, partition, request):
                if not error.retriable:
                    raise error
    finally:
        await client.close()


async def _produce(
    client: AIOKafkaClient, partition: TopicPartition, request: ProduceRequest
) -> KafkaError | None:
    """Sends a request to the leader that the newest metadata names. A topic has none right after creation."""
    await client.force_metadata_update()
    leader = client.cluster.leader_for_partition(partition)
    if leader in (None, -1):
        return LeaderNotAvailableError()
    response = await client.send(leader, request)
    [(_, [(_, code, *_)])] = response.topics
    return for_code(code)() if code else None
