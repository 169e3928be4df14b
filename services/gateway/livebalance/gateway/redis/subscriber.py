"""Subscribes to the deltas of every subscribed account and to the progress and the batches of lanes."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from livebalance.gateway.clock import uptime
from livebalance.gateway.limits.recurring import RecurringEvents
from livebalance.gateway.redis.delta_decoder import DeltaDecoder
from livebalance.gateway.redis.node_subscriber import NodeSubscriber
from livebalance.gateway.redis.placement import Placement, SingleNode, SlotOwners
from livebalance.runtime import logs
from livebalance.runtime.redis.commands import UNAVAILABLE, read_slots
from livebalance.runtime.redis.url import RedisNode, RedisUrl
from livebalance.wire.delta import (
    Delta,
    ProgressMessage,
    decode_progress,
    redis_account_channel,
    redis_lane_channel,
    redis_revocation_channel,
)
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.sets.batch import LaneBatch, decode_batch, redis_batch_channel
from livebalance.wire.signature import SignatureError, SigningKey, verified_message

SLOT_MAP_PAUSE = 0.5  # seconds, at most, between two reads of the slot map

_log = logs.get("redis")


class SubscriberEvents(NamedTuple):
    """The callbacks of a `Subscriber`. Each call has a batch."""

    acknowledged: Callable[[Sequence[AccountId]], None]  # Redis acknowledged the last subscription of each
    deltas: Callable[[Sequence[tuple[AccountId, Delta]]], None]
    progress: Callable[[ProgressMessage], None]
    connected: Callable[[bool], None]  # whether every channel is subscribed
    disconnected: Callable[[str], None]  # a connection was lost, or could not be made; with the reason
    dropped: Callable[[str], None]  # a message was invalid; with its kind
    revoked: Callable[[], None]  # an operator revoked rights
    missed: Callable[[], None]  # messages of some accounts may be lost, which are subscribed again now
    batches_acknowledged: Callable[[], None]  # Redis acknowledged the subscriptions to all lanes' batches
    batch: Callable[[LaneBatch], None]


class Subscriber:
    """Keeps the subscriptions at every Redis node, and decodes what they deliver.

    `name` is unique to this gateway: its probes need a channel of their own. `run` serves until it is
    cancelled.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        name: str,
        probe_interval: float,
        events: SubscriberEvents,
        *,
        keys: Sequence[SigningKey] = (),
    ) -> None:
        self._redis = RedisUrl.parse(url)
        self._prefix = prefix
        self._name = name
        self._revocation_channel = redis_revocation_channel(prefix).encode()
        self._probe_interval = probe_interval
        self._events = events
        self._keys = keys  # one of them must have signed each message; empty: messages are accepted unsigned
        self._decoder = DeltaDecoder()
        self._drops = RecurringEvents()  # by reason
        self._accounts: dict[bytes, AccountId] = {}  # by channel
        self._lane_channels: set[bytes] = set()
        self._batch_channels: dict[bytes, Lane] = {}  # empty unless `_wants_batches`
        self._wants_batches = False
        self._unacknowledged: set[bytes] = set()  # channels of batches
        self._placement = Placement()
        self._placement.add([self._revocation_channel])
        self._send_scheduled = False
        self._subscribers: dict[RedisNode, NodeSubscriber] = {}
        self._tasks: dict[RedisNode, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup
        self._connected = False
        self._all_placed = False  # every channel had an owner in the last slot map
        self._slot_map_outdated = asyncio.Event()
        self._redirected_by: list[RedisNode] = []  # the node that rejected a channel last

    # --- subscriptions

    def subscribe(self, accounts: Iterable[AccountId]) -> None:
        """Subscribes accounts. `acknowledged` is called when Redis has acknowledged each."""
        channels = {redis_account_channel(self._prefix, account).encode(): account for account in accounts}
        self._accounts.update(channels)
        self._placement.add(channels)
        self._schedule_send()

    def unsubscribe(self, accounts: Iterable[AccountId]) -> None:
        """Unsubscribes accounts."""
        channels = [redis_account_channel(self._prefix, account).encode() for account in accounts]
        for channel in channels:
            self._accounts.pop(channel, None)
        self._placement.remove(channels)
        self._schedule_send()

    def subscribe_lanes(self, count: int) -> None:
        """Subscribes to the progress of lanes 0 to `count` - 1."""
        channels = {redis_lane_channel(self._prefix, Lane(lane)).encode() for lane in range(count)}
        if new := channels - self._lane_channels:
            self._lane_channels |= new
            self._placement.add(new)
            self._schedule_send()
            if self._wants_batches:
                self.subscribe_batches(wanted=True)

    def subscribe_batches(self, *, wanted: bool) -> None:
        """Subscribes to the batches of all lanes, or unsubscribes.

        `batches_acknowledged` is called when Redis has acknowledged all of them.
        """
        self._placement.remove(list(self._batch_channels))
        lanes = range(len(self._lane_channels)) if wanted else ()
        channels = {redis_batch_channel(self._prefix, Lane(lane)).encode(): Lane(lane) for lane in lanes}
        self._wants_batches, self._batch_channels = wanted, channels
        self._unacknowledged = set(channels)
        self._placement.add(channels)
        self._schedule_send()

    def pause(self, seconds: float) -> None:
        """Reads no messages for a while, so that the next read has more of them."""
        for subscriber in self._subscribers.values():
            subscriber.pause(seconds)

    def _schedule_send(self) -> None:
        """Sends the changes of this iteration of the event loop together. A channel's last change counts."""
        if not self._send_scheduled:
            self._send_scheduled = True
            asyncio.get_running_loop().call_soon(self._send_changes)

    def _send_changes(self) -> None:
        self._send_scheduled = False
        for node, changes in self._placement.drain().items():
            if subscriber := self._subscribers.get(node):
                subscriber.apply(changes)
        if self._placement.has_unplaced():
            self._slot_map_outdated.set()

    # --- messages

    def on_pushes(self, subscriber: NodeSubscriber, pushes: list[list[Any]]) -> None:
        """Called with the pushes of a read of a node's socket."""
        deltas: list[tuple[AccountId, Delta]] = []
        acknowledged: list[bytes] = []
        commands, node = subscriber.commands, subscriber.node
        message = commands.message
        for kind, channel, content in pushes:
            if kind == message:
                account = self._accounts.get(channel)
                if account is None:
                    self._on_other_message(subscriber, channel, content)
                else:
                    try:
                        verified = verified_message(self._keys, channel, content)
                        deltas.append((account, self._decoder.decode(account, verified)))
                    except DecodeError as error:
                        self._drop("delta", error)
            elif kind == commands.subscribed:
                last = subscriber.acknowledge(channel)
                if last and self._placement.is_at(channel, node):
                    if channel in self._accounts:
                        acknowledged.append(channel)
                    elif channel in self._batch_channels:
                        self._on_batches_acknowledged(channel)
            elif (
                kind == commands.unsubscribed
                and subscriber.on_unsubscribed(channel)
                and self._placement.is_at(channel, node)
            ):
                self.on_rejected(node, [channel])
        if acknowledged:
            self._on_acknowledged(subscriber, acknowledged)
        if deltas:
            self._events.deltas(deltas)

    def _on_acknowledged(self, subscriber: NodeSubscriber, channels: Sequence[bytes]) -> None:
        again = self._placement.acknowledge(channels)
        self._events.acknowledged([self._accounts[channel] for channel in channels])
        if again and subscriber.ready:  # if it is not ready yet, `connected` covers every account
            self._events.missed()

    def _on_batches_acknowledged(self, channel: bytes) -> None:
        self._placement.acknowledge([channel])
        self._unacknowledged.discard(channel)
        if not self._unacknowledged:
            self._events.batches_acknowledged()

    def _on_other_message(self, subscriber: NodeSubscriber, channel: bytes, message: bytes) -> None:
        if channel == self._revocation_channel:
            self._events.revoked()
        elif channel in self._lane_channels:
            try:
                self._events.progress(decode_progress(verified_message(self._keys, channel, message)))
            except DecodeError as error:
                self._drop("progress", error)
        elif channel in self._batch_channels:
            try:
                batch = decode_batch(verified_message(self._keys, channel, message))
                if batch.lane != self._batch_channels[channel]:
                    raise DecodeError("the batch is of another lane than its Redis channel")
            except DecodeError as error:
                self._drop("batch", error)
            else:
                self._events.batch(batch)
        else:
            subscriber.on_probe(channel, message)

    def _drop(self, kind: str, error: DecodeError) -> None:
        """Counts an invalid message, and logs the first: perhaps a foreign program may publish."""
        reason = error.reason if isinstance(error, SignatureError) else kind
        if count := self._drops.add(reason, uptime()):
            _log.warning("redis message dropped", reason=reason, count=count, error=str(error))
        self._events.dropped(reason)

    # --- nodes

    async def run(self) -> None:
        """Keeps a subscriber at each node, and in a cluster the slot map up to date."""
        async with asyncio.TaskGroup() as self._group:
            if self._redis.clustered:
                await self._refresh_slot_map()
            else:
                self._set_owners(SingleNode(*self._redis.nodes))

    async def _refresh_slot_map(self) -> None:
        """Reads the slot map if it is outdated, and at each probe interval: not every change is announced."""
        while True:
            self._slot_map_outdated.clear()
            try:
                self._set_owners(await read_slots(self._redis, self._nodes_to_ask()))
            except UNAVAILABLE as error:
                _log.warning("slot map unavailable", reason=str(error)[:200])
            await asyncio.sleep(random.uniform(SLOT_MAP_PAUSE / 2, SLOT_MAP_PAUSE))
            if self._connected:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._probe_interval):
                        await self._slot_map_outdated.wait()

    def _nodes_to_ask(self) -> Sequence[RedisNode]:
        """Returns first the node that rejected a channel, then connected nodes, then the nodes of the URL."""
        redirected_by, self._redirected_by = self._redirected_by, []
        ready = [node for node, subscriber in self._subscribers.items() if subscriber.ready]
        random.shuffle(ready)
        return [*redirected_by, *ready, *self._redis.nodes]

    def _set_owners(self, owners: SlotOwners) -> None:
        """Moves channels to their owners, and keeps a subscriber at each owner and at no other node."""
        self._placement.set_owners(owners)
        self._all_placed = not self._placement.has_unplaced()
        for node in self._subscribers.keys() - owners.nodes:
            del self._subscribers[node]
            self._tasks.pop(node).cancel()
        for node in owners.nodes - self._subscribers.keys():
            subscriber = NodeSubscriber(self._redis, node, self._probe_interval, self)
            self._subscribers[node] = subscriber
            self._tasks[node] = self._group.create_task(subscriber.run())
        self._send_changes()
        self.on_ready_changed()

    # --- what node subscribers ask and report

    def channels_at(self, node: RedisNode) -> list[bytes]:
        """Returns the channels to subscribe at `node`."""
        return self._placement.channels_at(node)

    def probe_channel(self, node: RedisNode) -> bytes | None:
        """Returns the channel to probe `node` with, or None if no channel belongs to it.

        In a cluster, its hash tag puts the probe channel into a slot of that node.
        """
        probe = f"{self._prefix}probe:{self._name}"
        if not self._redis.clustered:
            return probe.encode()
        channel = self._placement.any_channel_at(node)
        return channel and b"%b:{%b}" % (probe.encode(), channel)

    def on_rejected(self, node: RedisNode, channels: Iterable[bytes]) -> None:
        """Called when these channels, and perhaps others, belong to another node."""
        self._placement.reject(node, channels)
        self._redirected_by = [node]
        self._slot_map_outdated.set()

    def on_disconnect(self, reason: str) -> None:
        """Called when a connection was lost, or could not be made."""
        self._events.disconnected(reason)
        self._slot_map_outdated.set()

    def on_ready_changed(self) -> None:
        """Called when a node subscriber's `ready`, or the set of subscribers, has changed."""
        connected = self._all_placed and all(subscriber.ready for subscriber in self._subscribers.values())
        if connected != self._connected:
            self._connected = connected
            self._events.connected(connected)
