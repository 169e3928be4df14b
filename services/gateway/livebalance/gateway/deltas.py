"""Redis in: one connection that hears the deltas of every followed account and the progress of every lane.

It speaks RESP3 with a bare parser, and what one read of the socket brought is one batch. It publishes a probe
to itself: two that do not come back mean that Redis is deaf, which no error tells.
"""

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from secrets import token_urlsafe
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import hiredis

from livebalance.gateway import metrics
from livebalance.runtime import logs
from livebalance.wire.delta import (
    Delta,
    Progress,
    decode_delta,
    decode_progress,
    redis_account,
    redis_lane,
    redis_revoked,
)
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane

CONNECT_WITHIN = 5.0  # seconds, also for each batch of subscriptions
MISSES = 2
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 3.0  # seconds at most before connecting again
AT_ONCE = 1000  # channels in one SUBSCRIBE

_log = logs.get("deltas")


class Events(NamedTuple):
    """Who is told what came; each call is one batch."""

    acked: Callable[[Sequence[AccountId]], None]
    deltas: Callable[[Sequence[tuple[AccountId, Delta]]], None]
    progress: Callable[[Progress], None]
    connected: Callable[[bool], None]  # True once everything is subscribed again
    lost: Callable[[str], None]  # a connection, or a try to have one; the word says why
    dropped: Callable[[str], None]  # a message was none of ours; the word says which
    rang: Callable[[], None]  # something was taken back from someone


class LostError(Exception):
    """The connection to Redis is gone, deaf, or was refused."""


class _Connection(asyncio.Protocol):
    """The first reply, and pushes: a batch for each read of the socket."""

    def __init__(self, pushed: Callable[[list[list[Any]]], None]) -> None:
        self._pushed = pushed
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        loop = asyncio.get_running_loop()
        self.greeted: asyncio.Future[Any] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            if pushes := self._pushes():
                self._pushed(pushes)
        except hiredis.ProtocolError:
            _log.warning("redis speaks another protocol")
            self.abort()
        except Exception as bug:  # the loop would only log it: whoever waits is to fall with it
            if not self.lost.done():
                self.lost.set_exception(bug)

    def _pushes(self) -> list[list[Any]]:
        pushes: list[list[Any]] = []
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification):
                pushes.append(reply)
            elif not self.greeted.done():
                self.greeted.set_result(reply)
            elif isinstance(reply, hiredis.ReplyError):
                _log.warning("redis refused", reason=str(reply)[:200])
        return pushes

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def send(self, *command: str) -> None:
        if self._transport and not self._transport.is_closing():  # uvloop raises on a closed one
            packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub: one word
            self._transport.write(packed)

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()


class Deltas:
    """`name` is this gateway's own, for its probe. `run` serves until it is cancelled."""

    def __init__(self, url: str, prefix: str, name: str, probe_period: float, events: Events) -> None:
        self._url = urlsplit(url)
        self._prefix = prefix
        self._probe = f"{prefix}probe:{name}"
        self._revoked = redis_revoked(prefix)
        self._token = token_urlsafe(9).encode()  # of our own probes
        self._probe_period = probe_period
        self._events = events
        self._accounts: dict[bytes, AccountId] = {}  # by their channel
        self._lanes: set[bytes] = set()
        self._commands: dict[bytes, bool] = {}  # to be sent: whether each channel is to be heard
        self._connection: _Connection | None = None
        self._unacked: Counter[bytes] = Counter()  # subscriptions sent
        self._some_acked = asyncio.Event()
        self._missed = 0
        self._probed = 0.0  # when

    # --- what is to be heard

    def subscribe(self, accounts: Iterable[AccountId]) -> None:
        """Each is told by `acked` once Redis has acknowledged the last subscription to it."""
        channels = {redis_account(self._prefix, account).encode(): account for account in accounts}
        self._accounts.update(channels)
        self._command(channels, there=True)

    def unsubscribe(self, accounts: Iterable[AccountId]) -> None:
        channels = [redis_account(self._prefix, account).encode() for account in accounts]
        for channel in channels:
            self._accounts.pop(channel, None)
        self._command(channels, there=False)

    def hear_lanes(self, count: int) -> None:
        """The progress of lanes 0..count-1."""
        lanes = {redis_lane(self._prefix, Lane(lane)).encode() for lane in range(count)}
        if new := lanes - self._lanes:
            self._lanes |= new
            self._command(new, there=True)

    def _command(self, channels: Iterable[bytes], *, there: bool) -> None:
        """Together with what else is wanted until the loop turns; of a channel, the last word counts."""
        if not self._commands:
            asyncio.get_running_loop().call_soon(self._send_commands)
        self._commands.update(dict.fromkeys(channels, there))

    def _send_commands(self) -> None:
        commands, self._commands = self._commands, {}
        self._send("SUBSCRIBE", [channel for channel, there in commands.items() if there])
        self._send("UNSUBSCRIBE", [channel for channel, there in commands.items() if not there])

    def _send(self, command: str, channels: Iterable[bytes]) -> None:
        if self._connection is None:  # it subscribes to all of them once there is one
            return
        for some in _in_batches(channels):
            if command == "SUBSCRIBE":
                self._unacked.update(some)
            self._connection.send(command, *(channel.decode() for channel in some))

    # --- what is heard

    def _pushed(self, pushes: list[list[Any]]) -> None:
        deltas: list[tuple[AccountId, Delta]] = []
        acked: list[AccountId] = []
        for kind, channel, what in pushes:
            if kind == b"message":
                account = self._accounts.get(channel)
                if account is None:
                    self._other(channel, what)
                else:
                    try:
                        deltas.append((account, decode_delta(account, what)))
                    except DecodeError as why:
                        self._drop("delta", why)
            elif kind == b"subscribe":
                self._acknowledged(channel, acked)
        self._some_acked.set()
        if acked:
            self._events.acked(acked)
        if deltas:
            self._events.deltas(deltas)

    def _acknowledged(self, channel: bytes, acked: list[AccountId]) -> None:
        """Of a channel that was left and wanted again, only the last acknowledgement counts."""
        self._unacked[channel] -= 1
        if self._unacked[channel] <= 0:
            del self._unacked[channel]
            if account := self._accounts.get(channel):
                acked.append(account)

    def _other(self, channel: bytes, message: bytes) -> None:
        if channel == self._probe.encode():
            if message == self._token:  # who else publishes here proves nothing
                self._missed = 0
                metrics.PROBE_SECONDS.set(time.monotonic() - self._probed)
        elif channel == self._revoked.encode():
            self._events.rang()
        elif channel in self._lanes:
            try:
                self._events.progress(decode_progress(message))
            except DecodeError as why:
                self._drop("progress", why)

    def _drop(self, reason: str, why: DecodeError) -> None:
        """Whoever may publish here should be looked at."""
        _log.warning("a message of redis is none of ours", reason=reason, why=str(why))
        self._events.dropped(reason)

    # --- the connection

    async def run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._serve()
            except (OSError, TimeoutError, LostError) as reason:
                _log.warning("redis is away", reason=str(reason)[:200] or type(reason).__name__)
                self._events.lost(_word(reason))
            pause = FIRST_PAUSE if self._connection else min(pause * 2, LONGEST_PAUSE)
            self._close()
            await asyncio.sleep(random.uniform(0, pause))

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            connection.abort()
            self._events.connected(False)

    async def _serve(self) -> None:
        connection = await self._connect()
        try:
            self._connection = connection
            await self._subscribe_again()
            self._events.connected(True)
            await self._listen(connection)
        except TimeoutError:
            if connection.lost.done():
                connection.lost.result()
            raise
        finally:
            connection.abort()

    async def _connect(self) -> _Connection:
        url = self._url
        secure = ssl.create_default_context() if url.scheme == "rediss" else None
        login = ("AUTH", unquote(url.username or "default"), unquote(url.password)) if url.password else ()
        async with asyncio.timeout(CONNECT_WITHIN):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self._pushed), url.hostname or "127.0.0.1", url.port or 6379, ssl=secure
            )
            connection.send("HELLO", "3", *login)
            await asyncio.wait({connection.greeted, connection.lost}, return_when=asyncio.FIRST_COMPLETED)
        if not connection.greeted.done() or isinstance(connection.greeted.result(), hiredis.ReplyError):
            connection.abort()
            raise LostError("refused")
        return connection

    async def _subscribe_again(self) -> None:
        self._unacked.clear()
        for some in _in_batches(
            [self._probe.encode(), self._revoked.encode(), *self._lanes, *self._accounts]
        ):
            self._send("SUBSCRIBE", some)
            async with asyncio.timeout(CONNECT_WITHIN):
                while some[-1] in self._unacked:  # Redis answers in order
                    self._some_acked.clear()
                    await self._some_acked.wait()

    async def _listen(self, connection: _Connection) -> None:
        self._missed = 0
        while self._missed < MISSES:
            connection.send("PUBLISH", self._probe, self._token.decode())
            self._missed += 1
            self._probed = time.monotonic()
            await asyncio.wait({connection.lost}, timeout=self._probe_period)
            if connection.lost.done():
                connection.lost.result()
                raise LostError("closed")
            if self._missed:
                metrics.PROBE_MISSED.inc()
        raise LostError("deaf")


def _word(reason: Exception) -> str:
    if isinstance(reason, LostError):
        return str(reason)
    return "timeout" if isinstance(reason, TimeoutError) else "unreachable"


def _in_batches(channels: Iterable[bytes]) -> Iterable[list[bytes]]:
    some = list(channels)
    return (some[i : i + AT_ONCE] for i in range(0, len(some), AT_ONCE))
