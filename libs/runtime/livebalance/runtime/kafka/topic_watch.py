"""Reads the identities of topics again and again, in the background."""

import asyncio
import time
from collections.abc import Mapping, Sequence

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.topic_identity import TopicIdentity, request_topic_identities
from livebalance.wire.timestamp import Millis

_INTERVAL_SECONDS = 1.0
_STALE_SECONDS = 10.0


class TopicWatch:
    """The identities of topics as Kafka last answered, about a second ago.

    While Kafka does not answer, the identities stay, and `read_at` says how old they are.
    """

    def __init__(self, broker: Broker, topics: Sequence[str]) -> None:
        self._client, self._topics = AIOKafkaClient(**broker.options), topics
        self._reading: asyncio.Task[None] | None = None
        self._identities: Mapping[str, TopicIdentity] = {}
        self.read_at = Millis(0)  # time of the last request that Kafka has answered

    @property
    def identities(self) -> Mapping[str, TopicIdentity]:
        """The identity of each topic by its name; empty before the first answer.

        Raises:
            Exception: an error that is a bug has ended the background task.
        """
        if self._reading is not None and self._reading.done():
            self._reading.result()
        return self._identities

    @property
    def is_stale(self) -> bool:
        """Whether Kafka has not answered for 10 s."""
        return time.time() - self.read_at / 1000 > _STALE_SECONDS

    async def start(self) -> None:
        """Connects, and begins to read. Raises KafkaConnectionError if Kafka is unavailable."""
        await self._client.bootstrap()
        self._reading = asyncio.create_task(self._read_repeatedly())

    async def stop(self) -> None:
        """Stops reading, and disconnects."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._client.close()

    async def read(self) -> Mapping[str, TopicIdentity]:
        """Requests the identities now.

        Raises:
            UnknownTopicOrPartitionError: A topic does not exist.
            KafkaError, TimeoutError: Kafka is unavailable or refuses the request.
        """
        requested_at = Millis(time.time_ns() // 1_000_000)
        self._identities = await request_topic_identities(self._client, self._topics)
        self.read_at = requested_at
        return self._identities

    async def _read_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            try:
                await self.read()
            except (KafkaError, OSError):  # includes TimeoutError
                continue
