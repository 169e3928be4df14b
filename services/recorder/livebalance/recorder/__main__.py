"""Entry point of the recorder: `python -m livebalance.recorder`."""

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from livebalance.recorder.recorder import Recorder
from livebalance.recorder.settings import RecorderSettings
from livebalance.recorder.store import Store
from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.errors import Fate, fate_of
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.topic_watch import TopicWatch
from livebalance.runtime.kafka.topics import describe_topics, find_lifecycle_topic, partition_count_error
from livebalance.runtime.process import health
from livebalance.runtime.process.run import main
from livebalance.runtime.schema.values import Values

_log = logs.get("recorder")

_RETRY_SECONDS = 1.0
_TOPICS_TIMEOUT_SECONDS = 30.0
_STOP_SECONDS = 5.0  # while Kafka is unavailable, stopping the consumer can take forever


def _consumer(settings: RecorderSettings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **settings.broker.options,
        client_id=settings.name,
        group_id=settings.recorder_group,
        partition_assignment_strategy=[RangePartitionAssignor],
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",  # a partition that lacks its next offset is halted
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.session_timeout_ms // 5,
        fetch_max_wait_ms=100,
        retry_backoff_ms=1000,
    )


async def check_topics(settings: RecorderSettings) -> str | None:
    """Returns the name of the lifecycle topic, or None if there is none.

    Raises:
        StartupError: another topic is missing, or the topics have different partition counts.
    """
    async with asyncio.timeout(_TOPICS_TIMEOUT_SECONDS):
        topics = await describe_topics(settings.broker, settings.transfers_topic, settings.balances_topic)
        partitions = topics.partitions[settings.transfers_topic]
        lifecycle = await find_lifecycle_topic(settings.broker, settings.lifecycle_topic, partitions)
    if reason := partition_count_error(topics):
        raise StartupError(reason)
    if lifecycle is None:
        _log.warning(
            "lifecycle topic not found", topic=settings.lifecycle_topic, effect="openings are not kept"
        )
    return lifecycle


async def _wait_for_servers(
    settings: RecorderSettings, values: Values, stopping: asyncio.Event
) -> str | None:
    """Waits for Kafka and the schema registry, and returns the name of the lifecycle topic if it exists.

    Raises StartupError if the topics or the schema do not fit.
    """
    while not stopping.is_set():
        try:
            lifecycle = await check_topics(settings)
            await values.register_schemas("balance")
        except Exception as error:
            if fate_of(error) is not Fate.TRANSIENT:
                raise
            _log.warning("kafka or schema registry unavailable", error=repr(error))
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return lifecycle
    return None


async def serve(settings: RecorderSettings, stopping: asyncio.Event) -> None:
    """Runs the service until `stopping` is set."""
    values = Values(settings)
    assignments = RebalanceListener()
    consumer = _consumer(settings)
    store = Store(settings.postgres.get_secret_value(), settings.name)
    topics = TopicWatch(settings.broker, (settings.transfers_topic, settings.balances_topic))
    recorder = Recorder(settings, values, store, consumer, assignments=assignments, topics=topics)
    address = settings.http_host, settings.http_port
    async with health.run_server(
        address, stopping, recorder.stalled_reason, recorder.unready_reason, halted=recorder.halted_reason
    ):
        try:
            recorder.lifecycle_topic = await _wait_for_servers(settings, values, stopping)
            consumer.subscribe([settings.transfers_topic], listener=assignments)
            await consumer.start()
            await topics.start()
            _log.info("recorder started", transfers_topic=settings.transfers_topic)
            await recorder.run(stopping)
        finally:
            await asyncio.wait([asyncio.create_task(consumer.stop())], timeout=_STOP_SECONDS)
            await topics.stop()
            await store.close()


if __name__ == "__main__":
    main(RecorderSettings, serve)
