"""Keeps the subscriptions at a Redis node.

It publishes a probe to itself. Redis can stop delivering without an error, so two missing probes count as a
lost connection.
"""

import asyncio
import random
import ssl
import time
from collections.abc import Iterable, Mapping
from itertools import groupby
from secrets import token_urlsafe
from typing import Any, NamedTuple, Protocol

import hiredis

from livebalance.gateway.redis.pending import PendingSubscriptions
from livebalance.gateway.redis.resp3 import Resp3Connection
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs
from livebalance.runtime.redis.cluster_slots import Moved, slot_of
from livebalance.runtime.redis.url import RedisNode, RedisUrl

CONNECT_TIMEOUT = 5.0  # seconds, also for each batch of subscriptions
MAX_MISSED_PROBES = 2
MIN_RETRY, MAX_RETRY = 0.1, 3.0  # seconds; upper bounds of the first and of a later pause before a reconnect
BATCH_CHANNELS = 1000  # channels sent before their acknowledgements are awaited

_log = logs.get("redis")


class ConnectionLostError(Exception):
    """The connection to Redis was closed, refused, or delivers nothing."""


class Commands(NamedTuple):
    """The names of pub/sub commands and pushes. A cluster has other names (decision 16)."""

    subscribe: str
    unsubscribe: str
    publish: str
    message: bytes
    subscribed: bytes
    unsubscribed: bytes


PLAIN = Commands("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", b"message", b"subscribe", b"unsubscribe")
SHARDED = Commands("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH", b"smessage", b"ssubscribe", b"sunsubscribe")


class Listener(Protocol):
    """The owner of a `NodeSubscriber`: says what to subscribe, and gets the pushes."""

    def on_pushes(self, subscriber: "NodeSubscriber", pushes: list[list[Any]]) -> None:
        """Called with the pushes of a read of the socket."""

    def channels_at(self, node: RedisNode) -> list[bytes]:
        """Returns the channels to subscribe at `node`."""

    def probe_channel(self, node: RedisNode) -> bytes | None:
        """Returns the channel to probe `node` with, or None if no channel belongs to it."""

    def on_rejected(self, node: RedisNode, channels: Iterable[bytes]) -> None:
        """Called when these channels, and perhaps others, belong to another node."""

    def on_disconnect(self, reason: str) -> None:
        """Called when a connection was lost, or could not be made."""

    def on_ready_changed(self) -> None:
        """Called when `ready` has changed."""


class NodeSubscriber:
    """The pub/sub connection to a node. `ready` is True while every channel is subscribed.

    `run` serves until it is cancelled.
    """

    def __init__(self, redis: RedisUrl, node: RedisNode, probe_interval: float, listener: Listener) -> None:
        self.node = node
        self.commands = SHARDED if redis.clustered else PLAIN
        self.ready = False
        self._redis = redis
        self._probe_interval = probe_interval
        self._listener = listener
        self._connection: Resp3Connection | None = None
        self._pending = PendingSubscriptions()
        self._answered = asyncio.Event()
        self._probe_channel: bytes | None = None  # subscribed now
        self._probe_token = token_urlsafe(9).encode()  # the content of this gateway's probes
        self._missed_probes = 0
        self._probed_at = 0.0

    # --- commands

    def apply(self, changes: Mapping[bytes, bool]) -> None:
        """Subscribes (True) and unsubscribes (False) channels. A new connection subscribes every channel."""
        self._send(self.commands.subscribe, [channel for channel, wanted in changes.items() if wanted])
        self._send(self.commands.unsubscribe, [channel for channel, wanted in changes.items() if not wanted])

    def pause(self, seconds: float) -> None:
        """Reads nothing from the node for a while."""
        if self._connection:
            self._connection.pause(seconds)

    def _send(self, command: str, channels: Iterable[bytes]) -> None:
        if self._connection is None:
            return
        for slot, batch in self._batches(channels):
            if command == self.commands.subscribe:
                self._pending.add(slot, batch)
            self._connection.send(command, *batch)

    def _batches(self, channels: Iterable[bytes]) -> Iterable[tuple[int, list[bytes]]]:
        """Yields the channels and the slot of each command. A command in a cluster may have a single slot."""
        if self.commands is PLAIN:
            for batch in _in_batches(channels):
                yield 0, batch
        else:
            for slot, group in groupby(sorted(channels, key=slot_of), slot_of):
                yield slot, list(group)

    # --- answers

    def acknowledge(self, channel: bytes) -> bool:
        """Counts an acknowledged subscription, and returns whether it was the last pending."""
        self._answered.set()
        return self._pending.acknowledge(channel)

    def on_unsubscribed(self, channel: bytes) -> bool:
        """Returns whether the channel stays unsubscribed: no subscription of it is pending."""
        if channel == self._probe_channel:
            self._probe_channel = None
        return channel not in self._pending

    def on_probe(self, channel: bytes, message: bytes) -> None:
        """Counts a probe that came back. Other messages on the channel prove nothing."""
        if channel == self._probe_channel and message == self._probe_token:
            self._missed_probes = 0
            metrics.PROBE_SECONDS.set(time.monotonic() - self._probed_at)

    def _on_error(self, error: hiredis.ReplyError) -> None:
        if moved := Moved.parse(str(error), self.node):
            self._answered.set()
            self._listener.on_rejected(self.node, self._pending.reject_slot(moved.slot))
            return
        _log.warning("redis command failed", reason=str(error)[:200])
        if self._connection and str(error).startswith("CLUSTERDOWN"):  # the error names no channel
            self._connection.abort()

    # --- the connection

    async def run(self) -> None:
        """Connects, subscribes and probes, and reconnects when the connection is lost."""
        pause = MIN_RETRY
        while True:
            try:
                await self._serve()
            except (OSError, TimeoutError, ConnectionLostError) as error:
                _log.warning("redis connection lost", reason=str(error)[:200] or type(error).__name__)
                self._listener.on_disconnect(_reason(error))
            pause = MIN_RETRY if self._connection else min(pause * 2, MAX_RETRY)
            self._connection = None
            if self.ready:
                self.ready = False
                self._listener.on_ready_changed()
            await asyncio.sleep(random.uniform(0, pause))

    async def _serve(self) -> None:
        connection = await self._connect()
        try:
            self._connection = connection
            await self._resubscribe()
            self.ready = True
            self._listener.on_ready_changed()
            await self._probe(connection)
        except TimeoutError:
            if connection.lost.done():
                connection.lost.result()
            raise
        finally:
            connection.abort()

    async def _connect(self) -> Resp3Connection:
        ssl_context = ssl.create_default_context() if self._redis.tls else None
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Resp3Connection(self._on_pushes, self._on_error), *self.node, ssl=ssl_context
            )
            try:
                await self._greet(connection)
            except BaseException:
                connection.abort()
                raise
        return connection

    async def _greet(self, connection: Resp3Connection) -> None:
        login = ("AUTH", *self._redis.login) if self._redis.login else ()
        connection.send("HELLO", "3", *login)
        reply = connection.first_reply
        await asyncio.wait({reply, connection.lost}, return_when=asyncio.FIRST_COMPLETED)
        if not reply.done() or isinstance(reply.result(), hiredis.ReplyError):
            raise ConnectionLostError("refused")

    def _on_pushes(self, pushes: list[list[Any]]) -> None:
        self._listener.on_pushes(self, pushes)

    async def _resubscribe(self) -> None:
        self._pending = PendingSubscriptions()
        self._probe_channel = None
        channels = self._listener.channels_at(self.node)
        for batch in _in_batches(channels if self.commands is PLAIN else sorted(channels, key=slot_of)):
            self._send(self.commands.subscribe, batch)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                while batch[-1] in self._pending:  # Redis answers in order
                    self._answered.clear()
                    await self._answered.wait()

    async def _probe(self, connection: Resp3Connection) -> None:
        """Probes until the connection is lost, then raises ConnectionLostError."""
        self._missed_probes = 0
        while self._missed_probes < MAX_MISSED_PROBES:
            self._send_probe(connection)
            await asyncio.wait({connection.lost}, timeout=self._probe_interval)
            if connection.lost.done():
                connection.lost.result()
                raise ConnectionLostError("closed")
            if self._missed_probes:
                metrics.PROBE_MISSED.inc()
        raise ConnectionLostError("deaf")

    def _send_probe(self, connection: Resp3Connection) -> None:
        channel, last = self._listener.probe_channel(self.node), self._probe_channel
        if channel != last:
            if last:
                connection.send(self.commands.unsubscribe, last)
            if channel:
                connection.send(self.commands.subscribe, channel)
            self._probe_channel = channel
        if channel:
            connection.send(self.commands.publish, channel, self._probe_token)
            self._missed_probes += 1
            self._probed_at = time.monotonic()


def _reason(error: Exception) -> str:
    """Returns the label of the metric `redis_disconnects`."""
    if isinstance(error, ConnectionLostError):
        return str(error)
    return "timeout" if isinstance(error, TimeoutError) else "unreachable"


def _in_batches(channels: Iterable[bytes]) -> Iterable[list[bytes]]:
    channels = list(channels)
    return (channels[start : start + BATCH_CHANNELS] for start in range(0, len(channels), BATCH_CHANNELS))
