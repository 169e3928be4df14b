"""python -m livebalance.projector"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from livebalance.projector.errors import fate_of
from livebalance.projector.kafka.consumer import LaneConsumer
from livebalance.projector.kafka.start_offsets import starts
from livebalance.projector.postgres.store import Store
from livebalance.projector.projector import Projector
from livebalance.projector.redis.publisher import Publisher
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.rows import LaneStart
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate
from livebalance.runtime.process import health
from livebalance.runtime.process.run import main

_RETRY_SECONDS = 1.0

_log = logs.get("projector")


async def _lanes(settings: ProjectorSettings, stopping: asyncio.Event) -> list[LaneStart] | None:
    """All there are, once Kafka is there; None when told to stop before. Raises RefusedError."""
    while not stopping.is_set():
        try:
            return await starts(settings)
        except Exception as error:
            if fate_of(error) is not Fate.TRANSIENT:
                raise
            _log.warning("kafka is away", error=repr(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _RETRY_SECONDS)
    return None


@contextlib.asynccontextmanager
async def started(settings: ProjectorSettings, lanes: Sequence[LaneStart]) -> AsyncIterator[Projector]:
    """All parts of the service, connected, for as long as the block runs."""
    postgres, redis = settings.postgres.get_secret_value(), settings.redis.get_secret_value()
    store = Store(postgres, settings.name, lanes, settings.transfers_topic)
    intake, doorbell = LaneConsumer(settings), Publisher(redis)
    doorbell.start()
    try:
        await intake.start()
        yield Projector(settings, intake, store, doorbell)
    finally:
        await intake.stop()
        await doorbell.close()
        await store.close()


async def serve(settings: ProjectorSettings, stopping: asyncio.Event) -> None:
    """The whole service, until `stopping` is set. It can be probed at once, whoever else is away."""
    here: Projector | None = None

    def stalled() -> str | None:
        return here.stalled() if here else None

    def unready() -> str | None:
        return here.unready() if here else "kafka is away"

    async with health.serving((settings.http_host, settings.http_port), stopping, stalled, unready):
        lanes = await _lanes(settings, stopping)
        if lanes is None:
            return
        async with started(settings, lanes) as here:
            _log.info("started", transfers=settings.transfers_topic, balances=settings.balances_topic)
            await here.run(stopping)


if __name__ == "__main__":
    main(ProjectorSettings, serve)
