"""What the two topics are, and whether a projection can be built from them."""

from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import NoError, UnknownTopicOrPartitionError, for_code

from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.connection import Broker

_STAMPED = "message.timestamp.type"


class Source(NamedTuple):
    """Both topics by name: how many partitions, and how they are kept."""

    transfers: str
    balances: str
    partitions: dict[str, int]
    configs: dict[str, dict[str, str]]


async def source(broker: Broker, transfers: str, balances: str) -> Source:
    """Asks the broker. Raises StartupError when a topic is missing, and what aiokafka raises."""
    names = [transfers, balances]
    admin = AIOKafkaAdminClient(**broker.options)
    try:
        await admin.start()
        described = await admin.describe_topics(names)
        partitions = {one["topic"]: _partitions(one) for one in described}
        configs = {name: await _config(admin, name) for name in names}
    finally:
        await admin.close()
    return Source(transfers, balances, partitions, configs)


def uneven(source: Source) -> str | None:
    """A lane is one partition number of both topics; None: they can be lanes."""
    transfers, balances = source.transfers, source.balances
    if source.partitions[transfers] == source.partitions[balances]:
        return None
    return (
        f"{transfers} has {source.partitions[transfers]} partitions and {balances}"
        f" {source.partitions[balances]}: both must have the same number"
    )


def unfit(source: Source) -> str | None:
    """Why no projection can be built, in one line that says what to do; None if it can."""
    if wrong := uneven(source):
        return wrong
    transfers, balances = source.transfers, source.balances
    kept, compacted = source.configs[transfers], source.configs[balances]
    for setting in ("retention.ms", "retention.bytes"):
        if kept.get(setting) != "-1":
            return (
                f"{transfers} has {setting}={kept.get(setting)}, but a projection is rebuilt"
                f" from it: set {setting}=-1"
            )
    if "compact" in kept.get("cleanup.policy", ""):
        return f"{transfers} is compacted and loses transfers: set cleanup.policy=delete"
    if "compact" not in compacted.get("cleanup.policy", ""):
        return f"{balances} is not compacted and would lose balances: set cleanup.policy=compact"
    return None


def open_periods(source: Source) -> str | None:
    """Why a report of a period that was complete may change; a projection can be built all the same."""
    stamped = source.configs[source.transfers].get(_STAMPED)
    if stamped == "LogAppendTime":
        return None
    return (
        f"{source.transfers} has {_STAMPED}={stamped}: a transfer has the time of its producer, and one"
        f" that is written late enters a period that was complete; {_STAMPED}=LogAppendTime closes periods"
    )


def _partitions(topic: dict[str, Any]) -> int:
    error = for_code(topic["error_code"])
    if error is UnknownTopicOrPartitionError:
        raise StartupError(
            f"there is no topic {topic['topic']}: create it first, it is never created by itself"
        )
    if error is not NoError:
        raise error
    return len(topic["partitions"])


async def _config(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [(_, _, _, _, entries)] = answer.resources
    return {entry[0]: entry[1] for entry in entries}
