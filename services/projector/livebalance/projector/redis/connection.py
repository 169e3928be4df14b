"""A connection to one server of RedisUrl, to ring by."""

import asyncio
from collections.abc import Sequence
from typing import Any

from livebalance.projector.redis.messages import Message
from livebalance.runtime import logs
from livebalance.runtime.process import failpoints
from livebalance.runtime.redis.commands import AWAY, Streams, answers, opened, packed
from livebalance.runtime.redis.url import RedisNode, RedisUrl

_SECONDS = 1.0  # for a try to connect

_log = logs.get("doorbell")


class PublishConnection:
    def __init__(self, redis: RedisUrl, node: RedisNode) -> None:
        self.node = node
        self._redis = redis
        self._word = "SPUBLISH" if redis.clustered else "PUBLISH"
        self._open: Streams | None = None

    @property
    def here(self) -> bool:
        return self._open is not None

    async def open(self) -> None:
        """Unless it is, or cannot be within a second."""
        if self._open is None:
            try:
                async with asyncio.timeout(_SECONDS):
                    self._open = await opened(self._redis, self.node)
            except AWAY:
                _log.debug("redis is still away")

    async def ring(self, messages: Sequence[Message]) -> list[Any]:
        """What Redis answers to each; errors are answers, too. Raises AWAY."""
        if self._open is None:
            raise EOFError("no connection")
        reader, writer = self._open
        first, *rest = [packed(self._word, channel, payload) for channel, payload in messages]
        writer.write(first)
        if rest:
            failpoints.at("between_publishes")
            writer.writelines(rest)
        await writer.drain()
        return await answers(reader, len(messages))

    def hang_up(self) -> None:
        if self._open is not None:
            self._open[1].transport.abort()
            self._open = None
