"""Redis away: the projector goes on committing, and rings again when it is back."""

import dataclasses
import signal
import time

from livebalance.stack.servers.servers import Servers
from tests.integration.projector.bell import hearing
from tests.integration.projector.world import World, history, reached


async def test_redis_killed_keeps_committing(world: World, own_redis: Servers) -> None:
    here = dataclasses.replace(world, redis=own_redis.redis())
    server = own_redis.own["redis"].child
    fed = history("alice", range(1, 8))
    async with here.running():
        async with hearing(here.redis, here.prefix) as bell:
            await here.write(fed[:5])
            await bell.reaches("alice", 5)
        server.kill()
        await here.write(fed[5:9])
        await here.applied(fed[:9])
        server.start()
        server.wait_for("Ready to accept connections", 10)
        async with hearing(here.redis, here.prefix) as bell:
            await reached(lambda: len(bell.progress) > 0)
            await here.write(fed[9:])
            await bell.reaches("alice", len(fed))
    await here.is_exact(fed)


async def test_a_stopped_redis_holds_a_batch_up_for_a_second_at_most(
    world: World, own_redis: Servers
) -> None:
    here = dataclasses.replace(world, redis=own_redis.redis())
    server = own_redis.own["redis"].child
    fed = history("alice", range(1, 5))
    async with here.running():
        async with hearing(here.redis, here.prefix) as bell:
            await here.write(fed[:3])
            await bell.reaches("alice", 3)
        server.send(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for number in range(3, len(fed)):
                await here.write(fed[number : number + 1])
                await here.applied(fed[: number + 1])
            # The first one waits for a second, the others find the line hung up.
            assert time.monotonic() - began < 15
        finally:
            server.send(signal.SIGCONT)
    await here.is_exact(fed)


async def test_redis_away_from_the_start(world: World) -> None:
    fed = history("alice", [1])
    async with world.running(redis="redis://127.0.0.1:1/0"):
        await world.write(fed)
        await world.applied(fed)
