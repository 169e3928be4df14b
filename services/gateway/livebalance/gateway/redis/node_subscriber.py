"""Hears what is published at one server of Redis.

It publishes a probe to itself: two that do not come back mean that Redis is deaf, which no error tells.
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

CONNECT_WITHIN = 5.0  # seconds, also for each batch of subscriptions
MISSES = 2
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0  # seconds at most before connecting again
AT_ONCE = 1000  # channels sent before an answer is waited for

_log = logs.get("deltas")


class ConnectionLostError(Exception):
    """The connection to RedisUrl is gone, deaf, or was refused."""


class Commands(NamedTuple):
    """What a kind of server calls what."""

    subscribe: str
    unsubscribe: str
    publish: str
    message: bytes
    subscribed: bytes
    unsubscribed: bytes


PLAIN = Commands("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH", b"message", b"subscribe", b"unsubscribe")
SHARDED = Commands("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH", b"smessage", b"ssubscribe", b"sunsubscribe")


class Listener(Protocol):
    """Whom an ear works for."""

    def pushed(self, ear: "NodeSubscriber", pushes: list[list[Any]]) -> None:
        """What one read brought."""

    def wanted(self, node: RedisNode) -> list[bytes]:
        """All channels that are to be heard there."""

    def probe(self, node: RedisNode) -> bytes | None:
        """A channel of our own there; None: nothing is to be heard there."""

    def strayed(self, node: RedisNode, channels: Iterable[bytes]) -> None:
        """The server says that they, and perhaps others, are not its own."""

    def lost(self, reason: str) -> None:
        """A connection, or a try to have one; the word says why."""

    def changed(self) -> None:
        """`here` is another than before."""


class NodeSubscriber:
    """`here`: it hears all that it is to hear. `run` serves until it is cancelled."""

    def __init__(self, redis: RedisUrl, node: RedisNode, probe_period: float, desk: Listener) -> None:
        self.node = node
        self.tongue = SHARDED if redis.clustered else PLAIN
        self.here = False
        self._redis = redis
        self._probe_period = probe_period
        self._desk = desk
        self._connection: Resp3Connection | None = None
        self._awaited = PendingSubscriptions()
        self._answered = asyncio.Event()
        self._probe: bytes | None = None  # heard now
        self._token = token_urlsafe(9).encode()  # of our own probes
        self._missed = 0
        self._probed = 0.0  # when

    # --- what is to be heard

    def obey(self, orders: Mapping[bytes, bool]) -> None:
        """Whether each channel is to be heard. Without a connection there is time: it begins with all."""
        self._send(self.tongue.subscribe, [channel for channel, there in orders.items() if there])
        self._send(self.tongue.unsubscribe, [channel for channel, there in orders.items() if not there])

    def _send(self, command: str, channels: Iterable[bytes]) -> None:
        if self._connection is None:
            return
        for slot, some in self._together(channels):
            if command == self.tongue.subscribe:
                self._awaited.sent(slot, some)
            self._connection.send(command, *some)

    def _together(self, channels: Iterable[bytes]) -> Iterable[tuple[int, list[bytes]]]:
        """Those of one command: of a cluster, those of one slot, which is told."""
        if self.tongue is PLAIN:
            for some in _in_batches(channels):
                yield 0, some
        else:
            for slot, of_slot in groupby(sorted(channels, key=slot_of), slot_of):
                yield slot, list(of_slot)

    # --- what it says of itself

    def acknowledged(self, channel: bytes) -> bool:
        """By the server; whether no other acknowledgement of it is to come."""
        self._answered.set()
        return self._awaited.acknowledged(channel)

    def left(self, channel: bytes) -> bool:
        """By the server; whether no acknowledgement is to come that it is heard again."""
        if channel == self._probe:
            self._probe = None
        return channel not in self._awaited

    def probed(self, channel: bytes, message: bytes) -> None:
        if channel == self._probe and message == self._token:  # who else publishes there proves nothing
            self._missed = 0
            metrics.PROBE_SECONDS.set(time.monotonic() - self._probed)

    def _refused(self, error: hiredis.ReplyError) -> None:
        if move := Moved.of(str(error), self.node):
            self._answered.set()
            self._desk.strayed(self.node, self._awaited.refused(move.slot))
            return
        _log.warning("redis refused", reason=str(error)[:200])
        if self._connection and str(error).startswith("CLUSTERDOWN"):  # it does not say for which channels
            self._connection.abort()

    # --- the connection

    async def run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._serve()
            except (OSError, TimeoutError, ConnectionLostError) as reason:
                _log.warning("redis is away", reason=str(reason)[:200] or type(reason).__name__)
                self._desk.lost(_word(reason))
            pause = FIRST_PAUSE if self._connection else min(pause * 2, LONGEST_PAUSE)
            self._connection = None
            if self.here:
                self.here = False
                self._desk.changed()
            await asyncio.sleep(random.uniform(0, pause))

    async def _serve(self) -> None:
        connection = await self._connect()
        try:
            self._connection = connection
            await self._subscribe_again()
            self.here = True
            self._desk.changed()
            await self._listen(connection)
        except TimeoutError:
            if connection.lost.done():
                connection.lost.result()
            raise
        finally:
            connection.abort()

    async def _connect(self) -> Resp3Connection:
        secure = ssl.create_default_context() if self._redis.tls else None
        async with asyncio.timeout(CONNECT_WITHIN):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Resp3Connection(self._pushed, self._refused), *self.node, ssl=secure
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
        await asyncio.wait({connection.greeted, connection.lost}, return_when=asyncio.FIRST_COMPLETED)
        if not connection.greeted.done() or isinstance(connection.greeted.result(), hiredis.ReplyError):
            raise ConnectionLostError("refused")

    def _pushed(self, pushes: list[list[Any]]) -> None:
        self._desk.pushed(self, pushes)

    async def _subscribe_again(self) -> None:
        self._awaited = PendingSubscriptions()
        self._probe = None
        wanted = self._desk.wanted(self.node)
        for some in _in_batches(wanted if self.tongue is PLAIN else sorted(wanted, key=slot_of)):
            self._send(self.tongue.subscribe, some)
            async with asyncio.timeout(CONNECT_WITHIN):
                while some[-1] in self._awaited:  # Redis answers in order
                    self._answered.clear()
                    await self._answered.wait()

    async def _listen(self, connection: Resp3Connection) -> None:
        self._missed = 0
        while self._missed < MISSES:
            self._send_probe(connection)
            await asyncio.wait({connection.lost}, timeout=self._probe_period)
            if connection.lost.done():
                connection.lost.result()
                raise ConnectionLostError("closed")
            if self._missed:
                metrics.PROBE_MISSED.inc()
        raise ConnectionLostError("deaf")

    def _send_probe(self, connection: Resp3Connection) -> None:
        probe, before = self._desk.probe(self.node), self._probe
        if probe != before:
            if before:
                connection.send(self.tongue.unsubscribe, before)
            if probe:
                connection.send(self.tongue.subscribe, probe)
            self._probe = probe
        if probe:
            connection.send(self.tongue.publish, probe, self._token)
            self._missed += 1
            self._probed = time.monotonic()


def _word(reason: Exception) -> str:
    if isinstance(reason, ConnectionLostError):
        return str(reason)
    return "timeout" if isinstance(reason, TimeoutError) else "unreachable"


def _in_batches(channels: Iterable[bytes]) -> Iterable[list[bytes]]:
    some = list(channels)
    return (some[i : i + AT_ONCE] for i in range(0, len(some), AT_ONCE))
