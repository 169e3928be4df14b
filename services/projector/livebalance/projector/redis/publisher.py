"""Redis: one message per changed account, and the lanes' progress. It may lose all and never holds us up."""

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
from livebalance.runtime.redis.commands import AWAY, read_slots
from livebalance.runtime.redis.url import RedisNode, RedisUrl

_SECONDS = 1.0  # the longest a publish may take, and the time between two looks at what is away
_LOOKS = 5  # between two readings of a cluster's slots when nothing is amiss

_log = logs.get("doorbell")


class Publisher:
    """A rope for each server. While one is away, its messages are counted and forgotten: nothing queues."""

    def __init__(self, url: str) -> None:
        self._redis = RedisUrl.of(url)
        self._slots: ClusterSlots | None = None  # of a cluster, once it is known
        self._ropes: dict[RedisNode, PublishConnection] = {}
        if not self._redis.clustered:
            self._tie(self._redis.nodes)
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connects in the background, again whenever a connection was lost, until closed."""
        self._keeping = asyncio.create_task(self._keep())

    async def publish(self, messages: Sequence[Message]) -> None:
        """Rings for each message, waiting for Redis at most a second; raises nothing."""
        until = asyncio.get_running_loop().time() + _SECONDS
        moved = await self._publish(messages, until)
        lost = await self._publish(moved, until)  # once more, where their slots are now
        metrics.unpublished.inc(len(lost))

    async def close(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
        self._tie(())

    # --- messages

    async def _publish(self, messages: Sequence[Message], until: float) -> list[Message]:
        """Returns those whose slot is elsewhere: by now it is known where."""
        shares = self._shares(messages)
        metrics.unpublished.inc(len(messages) - sum(map(len, shares.values())))
        moved = await asyncio.gather(*(self._ring(rope, share, until) for rope, share in shares.items()))
        return list(chain.from_iterable(moved))

    def _shares(self, messages: Sequence[Message]) -> dict[PublishConnection, Sequence[Message]]:
        """Those of each server that is here."""
        if not self._redis.clustered:
            return {rope: messages for rope in self._ropes.values() if rope.here and messages}
        shares = defaultdict[PublishConnection, list[Message]](list)
        for message in messages:
            owner = self._slots and self._slots.owner(message[0].encode())
            rope = self._ropes.get(owner) if owner else None
            if rope and rope.here:
                shares[rope].append(message)
        return dict(shares)

    async def _ring(
        self, rope: PublishConnection, messages: Sequence[Message], until: float
    ) -> list[Message]:
        try:
            async with asyncio.timeout_at(until):
                found = await rope.ring(messages)
            moved = [
                one for one, answer in zip(messages, found, strict=True) if self._is_elsewhere(rope, answer)
            ]
        except AWAY as error:
            _log.warning("redis is away", error=repr(error))
            metrics.unpublished.inc(len(messages))
            rope.hang_up()
            return []
        metrics.published.inc(len(messages) - len(moved))
        return moved

    def _is_elsewhere(self, rope: PublishConnection, answer: object) -> bool:
        """Raises what else RedisUrl refuses."""
        if not isinstance(answer, hiredis.ReplyError):
            return False
        move = Moved.of(str(answer), rope.node)
        if move is None or self._slots is None:
            raise answer
        self._slots.learn(move)
        return True

    # --- servers

    async def _keep(self) -> None:
        looks = 0
        while True:
            if self._redis.clustered and (looks % _LOOKS == 0 or self._is_amiss()):
                await self._find()
            await asyncio.gather(*(rope.open() for rope in self._ropes.values()))
            await asyncio.sleep(_SECONDS)
            looks += 1

    def _is_amiss(self) -> bool:
        """A server is away, or slots are where no rope goes."""
        known = self._slots is not None and self._slots.nodes <= self._ropes.keys()
        return not known or not all(rope.here for rope in self._ropes.values())

    async def _find(self) -> None:
        """The owners of all slots, as some node says."""
        here = [node for node, rope in self._ropes.items() if rope.here]
        random.shuffle(here)
        try:
            self._slots = await read_slots(self._redis, [*here, *self._redis.nodes])
        except AWAY as error:
            _log.debug("no node of redis tells the slots", error=repr(error))
        else:
            self._tie(self._slots.nodes)

    def _tie(self, nodes: Collection[RedisNode]) -> None:
        """A rope to each of them, and to no other."""
        for node in self._ropes.keys() - set(nodes):
            self._ropes.pop(node).hang_up()
        for node in nodes:
            self._ropes.setdefault(node, PublishConnection(self._redis, node))
