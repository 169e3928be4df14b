"""Entry point of the recorder: `python -m livebalance.recorder`."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from livebalance.recorder.checkpoint import AccountStorage, max_age_seconds
from livebalance.recorder.recorder import Recorder
from livebalance.recorder.settings import RecorderSettings
from livebalance.recorder.store import Store
from livebalance.runtime import logs
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.errors import Fate, fate_of
from livebalance.runtime.kafka.rebalance import RebalanceListener
from livebalance.runtime.kafka.topic_watch import TopicWatch
from livebalance.runtime.kafka.topics import (
    SourceTopics,
    describe_topics,
    find_lifecycle_topic,
    partition_count_error,
)
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


class RecorderTopics(NamedTuple):
    """The topics of a recorder. `lifecycle` is the name of the lifecycle topic, None if there is none."""

    source: SourceTopics
    lifecycle: str | None


async def check_topics(settings: RecorderSettings) -> RecorderTopics:
    """Returns the topics.

    Raises:
        StartupError: A topic is missing, or the topics have different partition counts.
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
    return RecorderTopics(topics, lifecycle)


async def _wait_for_servers(
    settings: RecorderSettings, values: Values, stopping: asyncio.Event
) -> RecorderTopics | None:
    """Waits for Kafka and the schema registry. Returns the topics, None if it is stopped.

    Raises:
        StartupError: The topics or the schema do not fit.
    """
    while not stopping.is_set():
        try:
            topics = await check_topics(settings)
            await values.register_schemas("balance")
        except Exception as error:
            if fate_of(error) is not Fate.TRANSIENT:
                raise
            _log.warning("kafka or schema registry unavailable", error=repr(error))
            await asyncio.sleep(_RETRY_SECONDS)
        else:
            return topics
    return None


@contextlib.contextmanager
def _accounts_directory(settings: RecorderSettings) -> Iterator[Path]:
    """The directory of the account files. Raises StartupError if it cannot be written."""
    if settings.accounts_directory is None:
        with tempfile.TemporaryDirectory(
            prefix="livebalance-recorder-", ignore_cleanup_errors=True
        ) as temporary:
            yield Path(temporary)
        return
    directory = settings.accounts_directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        reason = f"LIVEBALANCE_ACCOUNTS_DIRECTORY {directory} cannot be written: {error.strerror}"
        raise StartupError(reason) from error
    yield directory


async def serve(settings: RecorderSettings, stopping: asyncio.Event) -> None:
    """Runs the service until `stopping` is set."""
    with _accounts_directory(settings) as directory:
        await _serve(settings, stopping, directory)


async def _serve(settings: RecorderSettings, stopping: asyncio.Event, directory: Path) -> None:
    values = Values(settings)
    assignments = RebalanceListener()
    consumer = _consumer(settings)
    store = Store(settings.postgres.get_secret_value(), settings.name)
    topics = TopicWatch(settings.broker, (settings.transfers_topic, settings.balances_topic))
    storage = AccountStorage(directory)
    recorder = Recorder(
        settings, values, store, consumer, assignments=assignments, topics=topics, storage=storage
    )
    address = settings.http_host, settings.http_port
    async with health.run_server(
        address, stopping, recorder.stalled_reason, recorder.unready_reason, halted=recorder.halted_reason
    ):
        try:
            if found := await _wait_for_servers(settings, values, stopping):
                age = max_age_seconds(found.source.configs[settings.balances_topic])
                recorder.storage = storage._replace(max_age_seconds=age)
                recorder.lifecycle_topic = found.lifecycle
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
