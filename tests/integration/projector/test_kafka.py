"""Kafka killed and back again: the projector waits for it, and goes on."""

import dataclasses
from pathlib import Path

import pytest

from livebalance.runtime.kafka import stall_detector
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from tests.integration.projector.world import World, history, reached


async def test_kafka_killed(
    world: World, place: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall_detector, "_SUSPECT_SECONDS", 2.0)
    monkeypatch.setattr(stall_detector, "_STALLED_SECONDS", 0.1)  # at once, if ever
    with Servers.ours(StatePaths(place.home, tmp_path / "own"), "kafka") as own:
        here = dataclasses.replace(world, kafka=own.kafka)
        await here.topics.create(Broker(here.kafka))
        broker = own.own["kafka"].child
        fed = history("alice", range(1, 6))
        async with here.running() as projector:
            await here.write(fed[:5])
            await here.applied(fed[:5])
            broker.kill()
            await reached(lambda: projector.unready_reason() == "kafka does not answer", 60)
            assert projector.stalled_reason() is None
            broker.start()
            broker.wait_for("Kafka Server started", 60)
            await here.write(fed[5:])
            await here.applied(fed, 60)
            await reached(lambda: projector.unready_reason() is None)
        await here.is_exact(fed)
