"""Runs a projector: `python -m livebalance.projector`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from livebalance.projector.errors import fate_of
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.projector.kafka.lifecycle import LifecycleConsumer
from livebalance.projector.kafka.start_offsets import lane_starts
from livebalance.projector.postgres.store import Store
from livebalance.projector.projector import Projector
from livebalance.projector.redis.publisher import Publisher
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import LaneStart
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.kafka.topics import find_lifecycle_topic
from livebalance.runtime.process import health
from livebalance.runtime.process.run import main

_RETRY_SECONDS = 1.0

_log = logs.get("projector")


async def _wait_for_kafka(settings: ProjectorSettings, stopping: asyncio.Event) -> list[LaneStart] | None:
    """Returns `lane_starts` once Kafka is available; None if `stopping` is set before."""
    while not stopping.is_set():
        try:
            return await lane_starts(settings)
        except Exception as error:
            if fate_of(error) is not Fate.TRANSIENT:
                raise
            _log.warning("kafka unavailable", error=repr(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _RETRY_SECONDS)
    return None


@contextlib.asynccontextmanager
async def started(settings: ProjectorSettings, lanes: Sequence[LaneStart]) -> AsyncIterator[Projector]:
    """Connects the parts of a projector while the block runs. The caller runs the projector."""
    postgres, redis = settings.postgres.get_secret_value(), settings.redis.get_secret_value()
    store = Store(postgres, settings.name, lanes, settings.transfers_topic)
    topic = await find_lifecycle_topic(settings.broker, settings.lifecycle_topic, len(lanes))
    if topic is None:
        _log.warning(
            "lifecycle topic not found", topic=settings.lifecycle_topic, effect="openings are derived"
        )
    lifecycle = None if topic is None else LifecycleConsumer(settings, topic)
    consumer, publisher = LaneConsumer(settings, lifecycle), Publisher(redis)
    if settings.read_until is None:
        publisher.start()
    try:
        await consumer.start()
        yield Projector(settings, consumer, store, publisher)
    finally:
        await consumer.stop()
        await publisher.close()
        await store.close()


async def serve(settings: ProjectorSettings, stopping: asyncio.Event) -> None:
    """Runs the service until `stopping` is set. Probes are answered even while Kafka is unavailable.

    Raises:
        StartupError: the topics, the database or the settings do not fit each other.
        StalledError: the loop hangs although records wait.
    """
    projector: Projector | None = None

    def stalled_reason() -> str | None:
        return projector.stalled_reason() if projector else None

    def unready_reason() -> str | None:
        return projector.unready_reason() if projector else "kafka is unavailable"

    def halted_reason() -> str | None:
        return projector.halted_reason() if projector else None

    async with health.run_server(
        (settings.http_host, settings.http_port),
        stopping,
        stalled_reason,
        unready_reason,
        halted=halted_reason,
    ):
        lanes = await _wait_for_kafka(settings, stopping)
        if lanes is None:
            return
        async with started(settings, lanes) as projector:
            _log.info(
                "projector started",
                transfers_topic=settings.transfers_topic,
                balances_topic=settings.balances_topic,
            )
            await projector.run(stopping)


if __name__ == "__main__":
    main(ProjectorSettings, serve)
