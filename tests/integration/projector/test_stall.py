"""A consumer that stopped fetching is noticed, and a broker that is away is not taken for one."""

import asyncio

import pytest

from livebalance.projector import stall
from livebalance.projector.stall import StalledError
from tests.integration.projector.world import World, reached, transfer


async def stops_fetching(world: World) -> None:
    async with world.running() as projector:
        await world.write([transfer("alice", "t", 1)])
        await world.until("select count(*)::int from transfer", 1)
        assert projector.unready() is None
        projector._intake._consumer.pause(*projector._intake._consumer.assignment())
        await asyncio.sleep(1.5)
        assert projector.unready() is None  # there is nothing to fetch
        await world.write([transfer("alice", "u", 1)])
        await reached(lambda: "although there is more" in (projector.unready() or ""))
        await asyncio.sleep(5)


async def test_a_consumer_that_stops_fetching_ends_the_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "_SUSPECT", 1.0)
    monkeypatch.setattr(stall, "_GIVE_UP", 4.0)
    with pytest.raises(StalledError):
        await stops_fetching(world)
