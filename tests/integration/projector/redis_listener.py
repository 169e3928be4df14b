"""Subscribes to what projectors publish, as a gateway does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis

from livebalance.wire.delta import Delta, ProgressMessage, decode_delta, decode_progress
from livebalance.wire.identity import AccountId
from livebalance.wire.sets.batch import LaneBatch, decode_batch
from livebalance.wire.signature import SigningKey, verified_message
from tests.integration.projector.pipeline import wait_until


class RedisListener:
    """Every message received, in order."""

    def __init__(self, prefix: str, key: SigningKey | None) -> None:
        self._prefix, self._keys = prefix, [key] if key else []
        self.deltas: list[tuple[str, Delta]] = []
        self.progress: list[ProgressMessage] = []
        self.batches: list[LaneBatch] = []

    def receive(self, channel: str, payload: bytes) -> None:
        payload = verified_message(self._keys, channel.encode(), payload)
        kind, _, name = channel.removeprefix(self._prefix).partition(":")
        if kind == "account":
            self.deltas.append((name, decode_delta(AccountId(name), payload)))
        elif name.endswith(":batches"):
            self.batches.append(decode_batch(payload))
        else:
            self.progress.append(decode_progress(payload))

    def revisions(self, account: str) -> list[tuple[int, int]]:
        return [(delta.from_, delta.to) for name, delta in self.deltas if name == account]

    async def wait_for_revision(self, account: str, revision: int, seconds: float = 60.0) -> None:
        await wait_until(lambda: any(to == revision for _, to in self.revisions(account)), seconds)


@asynccontextmanager
async def redis_listener(
    url: str, prefix: str, key: SigningKey | None = None
) -> AsyncIterator[RedisListener]:
    """Receives messages from the moment the block begins. With a key, each must have its signature."""
    listener = RedisListener(prefix, key)
    async with Redis.from_url(url) as redis, redis.pubsub() as pubsub:
        await pubsub.psubscribe(f"{prefix}*")
        await pubsub.get_message(timeout=30)

        async def listen() -> None:
            async for message in pubsub.listen():
                listener.receive(message["channel"].decode(), message["data"])

        task = asyncio.create_task(listen())
        try:
            yield listener
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
