"""Describes the two topics, and checks whether a projection can be built from them."""

import asyncio
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError, for_code

from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.topic_identity import read_topic_identities

_TIMEOUT_SECONDS = 10.0
_TIMESTAMP_TYPE = "message.timestamp.type"


class SourceTopics(NamedTuple):
    """Partition counts and configurations of both topics, by topic name."""

    transfers: str
    balances: str
    partitions: dict[str, int]
    configs: dict[str, dict[str, str]]


async def describe_topics(broker: Broker, transfers: str, balances: str) -> SourceTopics:
    """Asks the broker for both topics.

    Raises:
        StartupError: A topic does not exist.
        KafkaError: The broker is unavailable or refuses the request.
    """
    names = [transfers, balances]
    admin = AIOKafkaAdminClient(**broker.options)
    try:
        await admin.start()
        described = await admin.describe_topics(names)
        partitions = {topic["topic"]: _partition_count(topic) for topic in described}
        configs = {name: await _config(admin, name) for name in names}
    finally:
        await admin.close()
    return SourceTopics(transfers, balances, partitions, configs)


async def find_lifecycle_topic(broker: Broker, name: str, partitions: int) -> str | None:
    """Returns `name` if the lifecycle topic exists and may be described, else None.

    Raises:
        StartupError: The topic has not `partitions` partitions, or it does not keep its records for ever.
        KafkaError, TimeoutError: The broker is unavailable or refuses the request.
    """
    try:  # aiokafka's admin client would create the topic on a broker that creates topics by itself
        count = (await read_topic_identities(broker, [name]))[name].partitions
    except (UnknownTopicOrPartitionError, TopicAuthorizationFailedError):
        return None
    if count != partitions:
        raise StartupError(f"{name} has {count} partitions, the topic of transfers has {partitions}")
    admin = AIOKafkaAdminClient(**broker.options)
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        try:
            await admin.start()
            config = await _config(admin, name)
        finally:
            await admin.close()
    if "compact" in config.get("cleanup.policy", ""):
        raise StartupError(f"{name} is compacted and loses openings: set cleanup.policy=delete")
    if config.get("retention.ms") != "-1" or config.get("retention.bytes") != "-1":
        raise StartupError(f"{name} loses openings: set retention.ms=-1 and retention.bytes=-1")
    return name


def partition_count_error(topics: SourceTopics) -> str | None:
    """Returns a message if the partition counts differ: a lane is a partition number of both topics."""
    transfers, balances = topics.transfers, topics.balances
    if topics.partitions[transfers] == topics.partitions[balances]:
        return None
    return (
        f"{transfers} has {topics.partitions[transfers]} partitions and {balances}"
        f" {topics.partitions[balances]}: both must have the same number"
    )


def topics_error(topics: SourceTopics) -> str | None:
    """Returns why no projection can be built and what to do, in one line, or None if there is no reason."""
    if error := partition_count_error(topics):
        return error
    transfers, balances = topics.transfers, topics.balances
    transfers_config, balances_config = topics.configs[transfers], topics.configs[balances]
    for setting in ("retention.ms", "retention.bytes"):
        if transfers_config.get(setting) != "-1":
            return (
                f"{transfers} has {setting}={transfers_config.get(setting)}, but a projection is rebuilt"
                f" from it: set {setting}=-1"
            )
    if "compact" in transfers_config.get("cleanup.policy", ""):
        return f"{transfers} is compacted and loses transfers: set cleanup.policy=delete"
    if "compact" not in balances_config.get("cleanup.policy", ""):
        return f"{balances} is not compacted and would lose balances: set cleanup.policy=compact"
    return None


def open_period_warning(topics: SourceTopics) -> str | None:
    """Returns a warning if a later transfer can still enter a period that was reported as complete.

    A projection can be built in any case.
    """
    timestamp_type = topics.configs[topics.transfers].get(_TIMESTAMP_TYPE)
    if timestamp_type == "LogAppendTime":
        return None
    return (
        f"{topics.transfers} has {_TIMESTAMP_TYPE}={timestamp_type}: transfers have their producer's time, so"
        f" a late transfer can enter a complete period; {_TIMESTAMP_TYPE}=LogAppendTime prevents this"
    )


def _partition_count(topic: dict[str, Any]) -> int:
    error = for_code(topic["error_code"])
    if error is UnknownTopicOrPartitionError:
        raise StartupError(
            f"there is no topic {topic['topic']}: create it first, Livebalance never creates topics"
        )
    if error is not NoError:
        raise error
    return len(topic["partitions"])


async def _config(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [(_, _, _, _, entries)] = answer.resources
    return {entry[0]: entry[1] for entry in entries}
