"""Starts and closes aiokafka's clients so that none leaves a connection open.

Importing this module changes aiokafka: a client closes as below, and consumers return RawRecords.
"""

import asyncio
import contextlib
from typing import Protocol

from aiokafka.client import AIOKafkaClient

from livebalance.runtime.kafka import raw_records  # noqa: F401 - consumers return RawRecords from here on

_START_SECONDS = 1.0


class Startable(Protocol):
    """A client of aiokafka."""

    async def start(self) -> None:
        """Connects."""


async def start_client(client: Startable) -> None:
    """Starts a client. The caller stops it, also after an error.

    A start that is cancelled would leave a connection open, because aiokafka does not know the connection
    yet. So a cancelled caller waits for the start to end, at most a second.
    """
    starting = asyncio.ensure_future(client.start())
    starting.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting], timeout=_START_SECONDS)
        starting.cancel()
        raise


_close = AIOKafkaClient.close


async def _close_after_connecting(client: AIOKafkaClient) -> None:
    """Closes a client, but not while it opens a connection, which would stay open: it is not listed yet."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS), client._get_conn_lock:
            pass
    await _close(client)


AIOKafkaClient.close = _close_after_connecting
