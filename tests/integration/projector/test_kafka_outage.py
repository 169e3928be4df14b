"""Kafka is killed and restarted: the projector waits for it and continues."""

import dataclasses
from pathlib import Path

import pytest

from livebalance.runtime.kafka import stall_detector
from livebalance.runtime.kafka.connection import Broker
from livebalance.stack.paths import StatePaths
from tests.integration.projector.pipeline import Pipeline, history, wait_until
from tests.servers.disposable import disposable_servers


async def test_projector_continues_after_kafka_was_killed(
    pipeline: Pipeline, paths: StatePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall_detector, "_SUSPECT_SECONDS", 2.0)
    monkeypatch.setattr(stall_detector, "_STALLED_SECONDS", 0.1)  # at once, if ever
    with disposable_servers(StatePaths(paths.home, tmp_path / "own"), "kafka") as servers:
        pipeline = dataclasses.replace(pipeline, kafka=servers.kafka)
        await pipeline.topics.create(Broker(pipeline.kafka))
        broker = servers.embedded["kafka"].child
        records = history("alice", range(1, 6))
        async with pipeline.running() as projector:
            await pipeline.write(records[:5])
            await pipeline.wait_until_applied(records[:5])
            broker.kill()
            await wait_until(lambda: projector.unready_reason() == "kafka does not answer", 60)
            assert projector.stalled_reason() is None
            broker.start()
            broker.wait_for("Kafka Server started", 60)
            await pipeline.write(records[5:])
            await pipeline.wait_until_applied(records, 60)
            await wait_until(lambda: projector.unready_reason() is None)
        await pipeline.assert_exact(records)
