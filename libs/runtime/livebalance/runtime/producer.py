"""A Kafka producer whose transactions fence every earlier owner of its id."""

import asyncio
import contextlib

from aiokafka import AIOKafkaProducer

_STOP_SECONDS = 3.0
_TRANSACTION_MS = 10_000  # a dead owner holds back readers of committed records no longer than this
_BATCH_BYTES = 128 * 1024


def producer(kafka: str, name: str, transactional_id: str | None) -> AIOKafkaProducer:
    """Not started. Idempotent; transactional with an id. Put a deadline around each of its steps."""
    return AIOKafkaProducer(
        bootstrap_servers=kafka,
        client_id=name,
        acks="all",
        enable_idempotence=True,
        transactional_id=transactional_id,
        transaction_timeout_ms=_TRANSACTION_MS,
        request_timeout_ms=_TRANSACTION_MS,
        max_batch_size=_BATCH_BYTES,
    )


async def stop(ended: AIOKafkaProducer) -> None:
    """Stops it whatever state it is in; an open transaction ends when its id is started again.

    Its own `stop` flushes, and so waits for ever while Kafka is away.
    """
    for step in (ended.stop, ended._sender.close, ended.client.close):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_STOP_SECONDS):
                await step()
