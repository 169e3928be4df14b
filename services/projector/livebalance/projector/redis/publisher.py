"""Publishes deltas and progress to Redis. Redis may lose messages, and never delays a batch for long."""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import chain

import hiredis

from livebalance.projector import metrics
from livebalance.projector.redis.connection import PublishConnection
from livebalance.projector.redis.messages import Message
from livebalance.runtime import logs
from livebalance.runtime.redis.cluster_slots import ClusterSlots, Moved
from livebalance.runtime.redis.commands import UNAVAILABLE, read_slots
from livebalance.runtime.redis.url import RedisNode, RedisUrl

_PUBLISH_TIMEOUT_SECONDS = 1.0
_RECONNECT_SECONDS = 1.0
_SLOT_MAP_ROUNDS = 5  # rounds of reconnecting between two reads of the slot map, if every node is connected

_log = logs.get("publisher")


class Publisher:
    """Has a connection to each Redis node. Messages for an unavailable node are counted and dropped."""

    def __init__(self, url: str) -> None:
        self._redis = RedisUrl.parse(url)
        self._slots: ClusterSlots | None = None  # None: no cluster, or its slot map is not known yet
        self._connections: dict[RedisNode, PublishConnection] = {}
        if not self._redis.clustered:
            self._set_nodes(self._redis.nodes)
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts a task that connects, and reconnects after a connection was lost, until `close`."""
        self._connecting = asyncio.create_task(self._keep_connected())

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publishes `messages`, waiting for Redis at most a second. Raises nothing."""
        deadline = asyncio.get_running_loop().time() + _PUBLISH_TIMEOUT_SECONDS
        moved = await self._publish(messages, deadline)
        lost = await self._publish(moved, deadline)  # once more, to the nodes that MOVED named
        metrics.unpublished_messages.inc(len(lost))

    async def close(self) -> None:
        """Stops reconnecting and closes all connections."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        self._set_nodes(())

    # --- messages

    async def _publish(self, messages: Sequence[Message], deadline: float) -> list[Message]:
        """Returns the messages that were answered with MOVED; the slot map is corrected by then."""
        shares = self._by_connection(messages)
        metrics.unpublished_messages.inc(len(messages) - sum(map(len, shares.values())))
        moved = await asyncio.gather(
            *(self._publish_to(connection, share, deadline) for connection, share in shares.items())
        )
        return list(chain.from_iterable(moved))

    def _by_connection(self, messages: Sequence[Message]) -> dict[PublishConnection, Sequence[Message]]:
        """Groups messages by the open connection to their node. Leaves out messages without a connection."""
        if not self._redis.clustered:
            return {
                connection: messages
                for connection in self._connections.values()
                if connection.is_open and messages
            }
        shares = defaultdict[PublishConnection, list[Message]](list)
        for message in messages:
            owner = self._slots and self._slots.owner(message[0].encode())
            connection = self._connections.get(owner) if owner else None
            if connection and connection.is_open:
                shares[connection].append(message)
        return dict(shares)

    async def _publish_to(
        self, connection: PublishConnection, messages: Sequence[Message], deadline: float
    ) -> list[Message]:
        try:
            async with asyncio.timeout_at(deadline):
                replies = await connection.publish(messages)
            moved = [
                message
                for message, reply in zip(messages, replies, strict=True)
                if self._has_moved(connection, reply)
            ]
        except UNAVAILABLE as error:
            _log.warning("publish failed", error=repr(error))
            metrics.unpublished_messages.inc(len(messages))
            connection.close()
            return []
        metrics.published_messages.inc(len(messages) - len(moved))
        return moved

    def _has_moved(self, connection: PublishConnection, reply: object) -> bool:
        """Returns whether `reply` is MOVED, and corrects the slot map. Raises any other error of Redis."""
        if not isinstance(reply, hiredis.ReplyError):
            return False
        move = Moved.parse(str(reply), connection.node)
        if move is None or self._slots is None:
            raise reply
        self._slots.apply_move(move)
        return True

    # --- nodes

    async def _keep_connected(self) -> None:
        rounds = 0
        while True:
            if self._redis.clustered and (rounds % _SLOT_MAP_ROUNDS == 0 or not self._is_connected()):
                await self._read_slot_map()
            await asyncio.gather(*(connection.open() for connection in self._connections.values()))
            await asyncio.sleep(_RECONNECT_SECONDS)
            rounds += 1

    def _is_connected(self) -> bool:
        """Returns whether the slot map is known, and all its nodes have an open connection."""
        known = self._slots is not None and self._slots.nodes <= self._connections.keys()
        return known and all(connection.is_open for connection in self._connections.values())

    async def _read_slot_map(self) -> None:
        """Reads the slot map from any node, connected nodes first."""
        connected = [node for node, connection in self._connections.items() if connection.is_open]
        random.shuffle(connected)
        try:
            self._slots = await read_slots(self._redis, [*connected, *self._redis.nodes])
        except UNAVAILABLE as error:
            _log.debug("slot map unavailable", error=repr(error))
        else:
            self._set_nodes(self._slots.nodes)

    def _set_nodes(self, nodes: Collection[RedisNode]) -> None:
        """Keeps a connection for each of `nodes`, and closes all others."""
        for node in self._connections.keys() - set(nodes):
            self._connections.pop(node).close()
        for node in nodes:
            self._connections.setdefault(node, PublishConnection(self._redis, node))
