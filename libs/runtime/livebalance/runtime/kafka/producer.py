"""A Kafka producer whose transactions fence every earlier owner of its id."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer

from livebalance.runtime.kafka.connection import Broker

_STOP_SECONDS = 3.0
_TRANSACTION_MS = 10_000  # a dead owner holds back readers of committed records no longer than this
_BATCH_BYTES = 128 * 1024
_RETRY_MS = 20  # brokers ask to try again while the transaction before is being written down


class OutgoingRecord(NamedTuple):
    """A record to write; without a partition it goes where Java would put its key."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def producer(kafka: Broker, name: str, transactional_id: str | None) -> AIOKafkaProducer:
    """Not started. Idempotent; transactional with an id. Put a deadline around each of its steps."""
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


async def write(to: AIOKafkaProducer, records: Iterable[OutgoingRecord]) -> None:
    """Returns when all are acknowledged. Raises KafkaErrors."""
    sent: list[asyncio.Future[Any]] = []
    try:
        for record in records:
            sent.append(
                await to.send(
                    record.topic, record.value, record.key, record.partition, headers=list(record.headers)
                )
            )
        await asyncio.gather(*sent)
    except BaseException:
        for future in sent:
            future.add_done_callback(_hear)
        raise


async def stop(ended: AIOKafkaProducer) -> None:
    """Stops it whatever state it is in; an open transaction ends when its id is started again.

    Its own `stop` flushes, and so waits for ever while Kafka is away.
    """
    _hear(ended._txn_manager._transaction_waiter)
    for batches in ended._message_accumulator._batches.values():
        for batch in batches:
            _hear(batch._drain_waiter)
    for step in (ended.stop, ended._sender.close, ended.client.close):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_STOP_SECONDS):
                await step()


def _hear(future: asyncio.Future[Any] | None) -> None:
    """Takes note of an error that was raised elsewhere already, so that it is not logged as unheard."""
    if future is not None and future.done() and not future.cancelled():
        future.exception()
