"""python -m livebalance.recorder"""

import asyncio

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor

from livebalance.recorder.assignments import Assignments
from livebalance.recorder.lanes import check_lanes
from livebalance.recorder.recorder import Recorder
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime import health, logs
from livebalance.runtime.run import main


def _consumer(settings: RecorderSettings) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        client_id=settings.name,
        group_id=settings.group,
        partition_assignment_strategy=[RangePartitionAssignor],
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=settings.session_timeout_ms // 5,
        fetch_max_wait_ms=100,
        retry_backoff_ms=1000,
    )


async def serve(settings: RecorderSettings, stopping: asyncio.Event) -> None:
    """The whole service, until `stopping` is set."""
    await check_lanes(settings)
    assignments = Assignments()
    consumer = _consumer(settings)
    recorder = Recorder(settings, consumer, assignments)
    async with health.serving(settings.http_host, settings.http_port, lambda: None, recorder.unready):
        consumer.subscribe([settings.transfers_topic], listener=assignments)
        try:
            await consumer.start()
            logs.get("recorder").info("started", transfers=settings.transfers_topic)
            await recorder.run(stopping)
        finally:
            await consumer.stop()


if __name__ == "__main__":
    main(RecorderSettings(), serve)
