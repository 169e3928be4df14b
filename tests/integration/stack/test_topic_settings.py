"""The topics have the settings of `deploy/topics.toml` on a real broker."""

from livebalance.recorder.checkpoint import max_age_seconds
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.topics import describe_topics
from livebalance.stack.servers.topics import Topics

HOUR_MS = 3_600_000


async def test_balances_are_compacted_within_hours(kafka: str, topics: Topics) -> None:
    """A restore without saved accounts reads what is not compacted. By default Kafka waits for a week."""
    described = await describe_topics(Broker(kafka), topics.transfers, topics.balances)
    config = described.configs[topics.balances]
    assert config["cleanup.policy"] == "compact"
    assert int(config["segment.ms"]) <= HOUR_MS
    assert int(config["max.compaction.lag.ms"]) <= 6 * HOUR_MS
    assert float(config["min.cleanable.dirty.ratio"]) <= 0.2
    assert max_age_seconds(config) == 12 * 3_600
    assert described.configs[topics.transfers]["retention.ms"] == "-1"
