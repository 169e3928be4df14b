"""Redis in: the deltas of every followed account and the progress of every lane, by an ear at each server."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from livebalance.gateway.redis.node_subscriber import NodeSubscriber
from livebalance.gateway.redis.placement import Placement, SingleNode, SlotOwners
from livebalance.runtime import logs
from livebalance.runtime.redis.commands import AWAY, read_slots
from livebalance.runtime.redis.url import RedisNode, RedisUrl
from livebalance.wire.delta import (
    Delta,
    ProgressMessage,
    decode_delta,
    decode_progress,
    redis_account,
    redis_lane,
    redis_revoked,
)
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane

PAUSE = 0.5  # seconds between two questions who owns what

_log = logs.get("deltas")


class SubscriberEvents(NamedTuple):
    """Who is told what came; each call is one batch."""

    acked: Callable[[Sequence[AccountId]], None]
    deltas: Callable[[Sequence[tuple[AccountId, Delta]]], None]
    progress: Callable[[ProgressMessage], None]
    connected: Callable[[bool], None]  # True once everything is subscribed again
    lost: Callable[[str], None]  # a connection, or a try to have one; the word says why
    dropped: Callable[[str], None]  # a message was none of ours; the word says which
    rang: Callable[[], None]  # something was taken back from someone
    missed: Callable[[], None]  # of some accounts; from now on they are heard again


class Subscriber:
    """`name` is this gateway's own, for its probes. `run` serves until it is cancelled."""

    def __init__(
        self, url: str, prefix: str, name: str, probe_period: float, events: SubscriberEvents
    ) -> None:
        self._redis = RedisUrl.of(url)
        self._prefix = prefix
        self._name = name
        self._revoked = redis_revoked(prefix).encode()
        self._probe_period = probe_period
        self._events = events
        self._accounts: dict[bytes, AccountId] = {}  # by their channel
        self._lanes: set[bytes] = set()
        self._seating = Placement()
        self._seating.want([self._revoked])
        self._ordered = False  # what was ordered is sent when the loop turns
        self._ears: dict[RedisNode, NodeSubscriber] = {}
        self._running: dict[RedisNode, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup
        self._here = False
        self._served = False  # every channel has an owner
        self._stale = asyncio.Event()  # who owns what has to be asked again
        self._witness: list[RedisNode] = []  # who knows best

    # --- what is to be heard

    def subscribe(self, accounts: Iterable[AccountId]) -> None:
        """Each is told by `acked` once Redis has acknowledged the last subscription to it."""
        channels = {redis_account(self._prefix, account).encode(): account for account in accounts}
        self._accounts.update(channels)
        self._seating.want(channels)
        self._order()

    def unsubscribe(self, accounts: Iterable[AccountId]) -> None:
        channels = [redis_account(self._prefix, account).encode() for account in accounts]
        for channel in channels:
            self._accounts.pop(channel, None)
        self._seating.leave(channels)
        self._order()

    def hear_lanes(self, count: int) -> None:
        """The progress of lanes 0..count-1."""
        lanes = {redis_lane(self._prefix, Lane(lane)).encode() for lane in range(count)}
        if new := lanes - self._lanes:
            self._lanes |= new
            self._seating.want(new)
            self._order()

    def _order(self) -> None:
        """Together with what else is wanted until the loop turns; of a channel, the last word counts."""
        if not self._ordered:
            self._ordered = True
            asyncio.get_running_loop().call_soon(self._obey)

    def _obey(self) -> None:
        self._ordered = False
        for node, orders in self._seating.take().items():
            if ear := self._ears.get(node):
                ear.obey(orders)
        if self._seating.is_amiss():
            self._stale.set()

    # --- what is heard

    def pushed(self, ear: NodeSubscriber, pushes: list[list[Any]]) -> None:
        deltas: list[tuple[AccountId, Delta]] = []
        acked: list[bytes] = []
        message = ear.tongue.message
        for kind, channel, what in pushes:
            if kind == message:
                account = self._accounts.get(channel)
                if account is None:
                    self._other(ear, channel, what)
                else:
                    try:
                        deltas.append((account, decode_delta(account, what)))
                    except DecodeError as why:
                        self._drop("delta", why)
            elif kind == ear.tongue.subscribed:
                if ear.acknowledged(channel) and channel in self._accounts and self._is_at(ear, channel):
                    acked.append(channel)
            elif kind == ear.tongue.unsubscribed and ear.left(channel) and self._is_at(ear, channel):
                self.strayed(ear.node, [channel])
        if acked:
            self._acknowledged(ear, acked)
        if deltas:
            self._events.deltas(deltas)

    def _is_at(self, ear: NodeSubscriber, channel: bytes) -> bool:
        return self._seating.is_at(channel, ear.node)

    def _acknowledged(self, ear: NodeSubscriber, channels: Sequence[bytes]) -> None:
        again = self._seating.heard(channels)
        self._events.acked([self._accounts[channel] for channel in channels])
        if again and ear.here:  # else all is missed, and told when it is
            self._events.missed()

    def _other(self, ear: NodeSubscriber, channel: bytes, message: bytes) -> None:
        if channel == self._revoked:
            self._events.rang()
        elif channel in self._lanes:
            try:
                self._events.progress(decode_progress(message))
            except DecodeError as why:
                self._drop("progress", why)
        else:
            ear.probed(channel, message)

    def _drop(self, reason: str, why: DecodeError) -> None:
        """Whoever may publish here should be looked at."""
        _log.warning("a message of redis is none of ours", reason=reason, why=str(why))
        self._events.dropped(reason)

    # --- servers

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            if self._redis.clustered:
                await self._ask_again_and_again()
            else:
                self._share(SingleNode(*self._redis.nodes))

    async def _ask_again_and_again(self) -> None:
        """At once when something is amiss; else as often as servers are probed: not every change is told."""
        while True:
            self._stale.clear()
            try:
                self._share(await read_slots(self._redis, self._who_knows()))
            except AWAY as reason:
                _log.warning("no node of redis tells who owns what", reason=str(reason)[:200])
            await asyncio.sleep(random.uniform(PAUSE / 2, PAUSE))
            if self._here:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._probe_period):
                        await self._stale.wait()

    def _who_knows(self) -> Sequence[RedisNode]:
        """First who said that something is elsewhere, then any."""
        witness, self._witness = self._witness, []
        others = [node for node, ear in self._ears.items() if ear.here]
        random.shuffle(others)
        return [*witness, *others, *self._redis.nodes]

    def _share(self, owners: SlotOwners) -> None:
        """An ear at each owner, and at no other server."""
        self._seating.shared(owners)
        self._served = not self._seating.is_amiss()
        for node in self._ears.keys() - owners.nodes:
            del self._ears[node]
            self._running.pop(node).cancel()
        for node in owners.nodes - self._ears.keys():
            ear = self._ears[node] = NodeSubscriber(self._redis, node, self._probe_period, self)
            self._running[node] = self._group.create_task(ear.run())
        self._obey()
        self.changed()

    # --- what ears ask and tell

    def wanted(self, node: RedisNode) -> list[bytes]:
        return self._seating.at(node)

    def probe(self, node: RedisNode) -> bytes | None:
        """In a cluster it has the slot of a channel that is heard there."""
        probe = f"{self._prefix}probe:{self._name}"
        if not self._redis.clustered:
            return probe.encode()
        anchor = self._seating.anchor(node)
        return anchor and b"%b:{%b}" % (probe.encode(), anchor)

    def strayed(self, node: RedisNode, channels: Iterable[bytes]) -> None:
        self._seating.strayed(node, channels)
        self._witness = [node]
        self._stale.set()

    def lost(self, reason: str) -> None:
        self._events.lost(reason)
        self._stale.set()

    def changed(self) -> None:
        here = self._served and all(ear.here for ear in self._ears.values())
        if here != self._here:
            self._here = here
            self._events.connected(here)
