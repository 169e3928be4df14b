"""Reads the identity of topics: the id that Kafka gives to each new topic, and the number of partitions.

A topic that was deleted and created again has the same name and another id (KIP-516). aiokafka requests only
versions of metadata without ids, so a version with ids is described here.
"""

import asyncio
from collections.abc import Sequence
from io import BytesIO
from typing import NamedTuple
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from livebalance.runtime.kafka.connection import Broker

_TIMEOUT_SECONDS = 5.0
_METADATA_KEY = 3
_NO_ID = UUID(int=0)


class TopicIdentity(NamedTuple):
    """What distinguishes a topic from another topic of the same name."""

    id: UUID | None  # None: the broker knows no ids (Kafka before 2.8)
    partitions: int


async def read_topic_identities(broker: Broker, topics: Sequence[str]) -> dict[str, TopicIdentity]:
    """Connects, and returns the identity of each topic by its name.

    Raises:
        UnknownTopicOrPartitionError: A topic does not exist.
        KafkaError, TimeoutError: The broker is unavailable or refuses the request.
    """
    client = AIOKafkaClient(**broker.options)
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        try:
            await client.bootstrap()
            return await request_topic_identities(client, topics)
        finally:
            await client.close()


async def request_topic_identities(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, TopicIdentity]:
    """Returns the identity of each topic by its name, from a broker that `client` is or can be connected to.

    Raises:
        UnknownTopicOrPartitionError: A topic does not exist.
        KafkaError, TimeoutError: The broker is unavailable or refuses the request.
    """
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        response = await client.send(client.get_random_node(), _MetadataRequest(topics))
    identities = {}
    for topic in response.to_object()["topics"]:
        if (error := for_code(topic["error_code"])) is not NoError:
            raise error(topic["topic"])
        identities[topic["topic"]] = TopicIdentity(topic.get("topic_id"), len(topic["partitions"]))
    return identities


class _TopicId(AbstractType[UUID | None]):  # type: ignore[misc]  # aiokafka has no types
    @classmethod
    def encode(cls, value: UUID | None) -> bytes:
        return (value or _NO_ID).bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID | None:
        id_ = UUID(bytes=data.read(16))
        return None if id_ == _NO_ID else id_


class _MetadataResponseV10(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY = _METADATA_KEY
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString()),
                ("port", Int32),
                ("rack", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString()),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("topic", CompactString()),
                ("topic_id", _TopicId),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestV10(RequestStruct):  # type: ignore[misc]  # aiokafka has no types
    FLEXIBLE_VERSION = True
    API_KEY = _METADATA_KEY
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponseV10
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _TopicId), ("topic", CompactString()), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[MetadataRequest_v5 | _MetadataRequestV10]):  # type: ignore[misc]  # as above
    """Uses version 5, without ids, if the broker knows no version with ids."""

    API_KEY = _METADATA_KEY

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
        if request_struct_class is MetadataRequest_v5:
            return request_struct_class(list(self._topics), False)
        return request_struct_class([(None, topic, {}) for topic in self._topics], False, False, False, {})
