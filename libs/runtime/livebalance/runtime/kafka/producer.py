"""An idempotent Kafka producer. With a transactional id, its start fences every earlier owner of the id."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from livebalance.runtime.kafka.connection import Broker
from livebalance.wire.kafka.headers import Headers

_STOP_SECONDS = 3.0
_TRANSACTION_MS = 10_000  # longest time that a dead owner's open transaction holds back readers
_BATCH_BYTES = 128 * 1024
_RETRY_MS = 20  # brokers reject a new transaction while they still complete the previous transaction


class OutgoingRecord(NamedTuple):
    """A record to write. Without a partition, the hash of the key selects it as in Java's client."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None
    headers: Headers = ()


def create_producer(kafka: Broker, name: str, transactional_id: str | None) -> AIOKafkaProducer:
    """Returns a producer that is not started. It uses transactions if it has a transactional id.

    Its methods can wait forever: the caller puts a deadline around each of them.
    """
    return AIOKafkaProducer(
        **kafka.options,
        client_id=name,
        acks="all",
        enable_idempotence=True,
        transactional_id=transactional_id,
        transaction_timeout_ms=_TRANSACTION_MS,
        request_timeout_ms=_TRANSACTION_MS,
        max_batch_size=_BATCH_BYTES,
        retry_backoff_ms=_RETRY_MS,
    )


async def send_all(producer: AIOKafkaProducer, records: Iterable[OutgoingRecord]) -> list[int]:
    """Sends records, and returns their offsets when Kafka has acknowledged all.

    Raises:
        KafkaError: Kafka is unavailable or refuses a record.
        UnicodeDecodeError: The name of a header is not UTF-8, and aiokafka sends no other.
    """
    sent: list[asyncio.Future[Any]] = []
    try:
        for record in records:
            headers = [(name.decode(), value) for name, value in record.headers]
            sent.append(
                await producer.send(record.topic, record.value, record.key, record.partition, headers=headers)
            )
        return [metadata.offset for metadata in await asyncio.gather(*sent)]
    except BaseException:
        for future in sent:
            future.add_done_callback(_retrieve_exception)
        raise


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Stops a producer in any state, within seconds.

    An open transaction ends when a producer with the same id starts. The producer's own `stop` flushes, and
    therefore waits forever while Kafka is unavailable.
    """
    _retrieve_exception(producer._txn_manager._transaction_waiter)
    for batches in producer._message_accumulator._batches.values():
        for batch in batches:
            _retrieve_exception(batch._drain_waiter)
    for step in (producer.stop, producer._sender.close, producer.client.close):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_STOP_SECONDS):
                await step()


def _retrieve_exception(future: asyncio.Future[Any] | None) -> None:
    """Retrieves an exception that was raised elsewhere, so that asyncio does not log it as unretrieved."""
    if future is not None and future.done() and not future.cancelled():
        future.exception()
