"""python -m livebalance.projector"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from livebalance.projector.doorbell import Doorbell
from livebalance.projector.fate import fate_of
from livebalance.projector.intake import Intake
from livebalance.projector.loop import Projector
from livebalance.projector.settings import ProjectorSettings
from livebalance.projector.store import Store
from livebalance.projector.topics import partitions
from livebalance.runtime import health, logs
from livebalance.runtime.fate import Fate
from livebalance.runtime.run import main

_RETRY_SECONDS = 1.0

_log = logs.get("projector")
T = TypeVar("T")


async def _until_kafka(try_: Callable[[], Awaitable[T]]) -> T:
    """Repeats a first step until Kafka is there. Raises RefusedError, and what is a bug."""
    while True:
        try:
            return await try_()
        except Exception as error:
            if fate_of(error) is not Fate.TRANSIENT:
                raise
            _log.warning("kafka is away", error=repr(error))
        await asyncio.sleep(_RETRY_SECONDS)


@contextlib.asynccontextmanager
async def _started(settings: ProjectorSettings) -> AsyncIterator[Projector]:
    count = await _until_kafka(lambda: partitions(settings))
    store = Store(settings.postgres, settings.name, count, settings.transfers_topic)
    intake, doorbell = Intake(settings), Doorbell(settings.redis)
    doorbell.start()
    try:
        await _until_kafka(intake.start)
        yield Projector(settings, intake, store, doorbell)
    finally:
        await intake.stop()
        await doorbell.close()
        await store.close()


async def serve(settings: ProjectorSettings, stopping: asyncio.Event) -> None:
    """The whole service, until `stopping` is set."""
    door = settings.http_host, settings.http_port
    async with _started(settings) as projector, health.serving(*door, lambda: None, projector.unready):
        _log.info("started", transfers=settings.transfers_topic, balances=settings.balances_topic)
        await projector.run(stopping)


if __name__ == "__main__":
    main(ProjectorSettings(), serve)
