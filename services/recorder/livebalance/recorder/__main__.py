"""python -m livebalance.recorder"""

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from livebalance.recorder.recorder import Recorder
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.errors import Fate, fate_of
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.topics import source, uneven
from livebalance.runtime.process import health
from livebalance.runtime.process.run import main
from livebalance.runtime.schema.values import Values

_log = logs.get("recorder")

_RETRY_SECONDS = 1.0
_TOPICS_SECONDS = 30.0
_STOP_SECONDS = 5.0  # Kafka may be away; its client then waits, or raises what it cancels


def _consumer(settings: RecorderSettings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **settings.broker.options,
        client_id=settings.name,
        group_id=settings.recorder_group,
        partition_assignment_strategy=[RangePartitionAssignor],
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.session_timeout_ms // 5,
        fetch_max_wait_ms=100,
        retry_backoff_ms=1000,
    )


async def check_topics(settings: RecorderSettings) -> None:
    """Raises StartupError if a topic is missing or the topics have different partition counts."""
    async with asyncio.timeout(_TOPICS_SECONDS):
        topics = await source(settings.broker, settings.transfers_topic, settings.balances_topic)
    if reason := uneven(topics):
        raise StartupError(reason)


async def _reachable(settings: RecorderSettings, values: Values, stopping: asyncio.Event) -> None:
    """Waits for Kafka and the registry. Raises StartupError when they have not what they should have."""
    while not stopping.is_set():
        try:
            await check_topics(settings)
            await values.begin_writing("balance")
        except Exception as error:
            if fate_of(error) is not Fate.TRANSIENT:
                raise
            _log.warning("Kafka or the registry is away", error=repr(error))
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return


async def serve(settings: RecorderSettings, stopping: asyncio.Event) -> None:
    """The whole service, until `stopping` is set."""
    values = Values(settings)
    assignments = RebalanceListener()
    consumer = _consumer(settings)
    recorder = Recorder(settings, values, consumer, assignments)
    at = settings.http_host, settings.http_port
    async with health.serving(at, stopping, recorder.stalled, recorder.unready):
        try:
            await _reachable(settings, values, stopping)
            consumer.subscribe([settings.transfers_topic], listener=assignments)
            await consumer.start()
            _log.info("started", transfers=settings.transfers_topic)
            await recorder.run(stopping)
        finally:
            await asyncio.wait([asyncio.create_task(consumer.stop())], timeout=_STOP_SECONDS)


if __name__ == "__main__":
    main(RecorderSettings, serve)
