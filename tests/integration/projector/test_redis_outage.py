"""Redis is unavailable: the projector continues to commit, and publishes again after reconnecting."""

import asyncio
import dataclasses
import signal

import pytest

from livebalance.projector.redis import publisher
from livebalance.stack.servers.servers import Servers
from tests.integration.projector.pipeline import Pipeline, history, wait_until
from tests.integration.projector.redis_listener import redis_listener


async def test_projector_commits_and_reconnects_after_redis_was_killed(
    pipeline: Pipeline, own_redis: Servers
) -> None:
    pipeline = dataclasses.replace(pipeline, redis=own_redis.redis())
    server = own_redis.embedded["redis"].child
    records = history("alice", range(1, 8))
    async with pipeline.running():
        async with redis_listener(pipeline.redis, pipeline.prefix) as listener:
            await pipeline.write(records[:5])
            await listener.wait_for_revision("alice", 5)
        server.kill()
        await pipeline.write(records[5:9])
        await pipeline.wait_until_applied(records[:9])
        server.start()
        server.wait_for("Ready to accept connections", 30)
        async with redis_listener(pipeline.redis, pipeline.prefix) as listener:
            await wait_until(lambda: len(listener.progress) > 0)
            await pipeline.write(records[9:])
            await listener.wait_for_revision("alice", len(records))
    await pipeline.assert_exact(records)


async def test_stopped_redis_delays_a_single_batch(
    pipeline: Pipeline, own_redis: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_PUBLISH_TIMEOUT_SECONDS", 10.0)
    pipeline = dataclasses.replace(pipeline, redis=own_redis.redis())
    server = own_redis.embedded["redis"].child
    records = history("alice", range(1, 5))
    async with pipeline.running():
        async with redis_listener(pipeline.redis, pipeline.prefix) as listener:
            await pipeline.write(records[:3])
            await listener.wait_for_revision("alice", 3)
        server.send(signal.SIGSTOP)
        try:
            async with asyncio.timeout(50):  # the first publish waits; later ones find the connection closed
                for number in range(3, len(records)):
                    await pipeline.write(records[number : number + 1])
                    await pipeline.wait_until_applied(records[: number + 1])
        finally:
            server.send(signal.SIGCONT)
    await pipeline.assert_exact(records)


async def test_projector_starts_without_redis(pipeline: Pipeline) -> None:
    records = history("alice", [1])
    async with pipeline.running(redis="redis://127.0.0.1:1/0"):
        await pipeline.write(records)
        await pipeline.wait_until_applied(records)
