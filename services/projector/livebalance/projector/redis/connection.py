"""A connection to a Redis node, for publishing."""

import asyncio
from collections.abc import Sequence
from typing import Any

from livebalance.projector.redis.messages import Message
from livebalance.runtime import logs
from livebalance.runtime.process import failpoints
from livebalance.runtime.redis.commands import (
    UNAVAILABLE,
    Streams,
    open_connection,
    pack_command,
    read_replies,
)
from livebalance.runtime.redis.url import RedisNode, RedisUrl

_CONNECT_TIMEOUT_SECONDS = 1.0

_log = logs.get("publisher")


class PublishConnection:
    """Publishes to `node`. In a cluster it uses SPUBLISH (decision 16)."""

    def __init__(self, redis: RedisUrl, node: RedisNode) -> None:
        self.node = node
        self._redis = redis
        self._command = "SPUBLISH" if redis.clustered else "PUBLISH"
        self._streams: Streams | None = None

    @property
    def is_open(self) -> bool:
        """Whether the connection is open."""
        return self._streams is not None

    async def open(self) -> None:
        """Tries to connect for a second, unless the connection is open. A failure is only logged."""
        if self._streams is None:
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_SECONDS):
                    self._streams = await open_connection(self._redis, self.node)
            except UNAVAILABLE:
                _log.debug("redis connection failed")

    async def publish(self, messages: Sequence[Message]) -> list[Any]:
        """Publishes `messages` and returns Redis' reply to each; a reply may be an error.

        Raises:
            EOFError: the connection is not open, or was lost. Also the other errors of `UNAVAILABLE`.
        """
        if self._streams is None:
            raise EOFError("no connection")
        reader, writer = self._streams
        first, *rest = [pack_command(self._command, channel, payload) for channel, payload in messages]
        writer.write(first)
        if rest:
            failpoints.at("between_publishes")
            writer.writelines(rest)
        await writer.drain()
        return await read_replies(reader, len(messages))

    def close(self) -> None:
        """Closes the connection at once."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
