"""The shell: one WebSocket, the clock and chance, around the session's machine."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import random
from types import TracebackType
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from livebalance.client import effects
from livebalance.client.account import Account
from livebalance.client.event import Event
from livebalance.client.session import BROKEN, Session, State
from livebalance.wire.frame import SUBPROTOCOL, Auth, encode
from livebalance.wire.identity import AccountId, Position

READ_AHEAD = 16  # frames
LARGEST_FRAME = 4 * 1024 * 1024  # bytes
SEND_WITHIN = 10.0  # seconds
TOKEN_WITHIN = 10.0  # seconds

Token = Callable[[], Awaitable[str]]  # a good one, for each connection anew; raises OSError or TimeoutError
CLOSE_WITHIN = 1.0  # seconds for the other side to say goodbye as well


class Client:
    """Follows accounts through the first gateway that answers, and comes back when the connection is lost.

        async with Client("ws://127.0.0.1:8080/ws", token=token) as client:
            client.follow(AccountId("alice"))
            async for event in client.events():
                ...

    Everything happens inside `events()`: whoever stops listening stops the reading. At most `READ_AHEAD`
    frames wait here then; the rest waits at the gateway, which conflates, and nothing is lost by it.
    `token` gives one for each connection, and another before that ends. `heard` is called with each frame as
    it came, before it is understood: a log that a checker can replay.
    Raises websockets.exceptions.InvalidURI for an address that cannot be one.
    """

    def __init__(
        self, *urls: str, token: Token | None = None, heard: Callable[[bytes], None] | None = None
    ) -> None:
        for url in urls:
            parse_uri(url)
        self._session = Session(urls)
        self._token = token
        self._heard = heard
        self._effects: deque[effects.Effect] = deque()  # of the last step, not performed yet
        self._dial: str | None = None
        self._renew = False
        self._connection: ClientConnection | None = None
        self._alarm: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Say goodbye; `events()` ends."""
        self._effects = deque(self._session.step(effects.Stop(), 0.0, 0.0))
        while self._effects:
            await self._perform(self._effects.popleft())
        self._wake()

    def follow(self, account: AccountId, since: Position | None = None) -> None:
        """From a whole state on, or from a position held from an earlier time."""
        self._session.follow(account, since)
        self._wake()

    def unfollow(self, account: AccountId) -> None:
        self._session.unfollow(account)
        self._wake()

    def rate(self, max_per_second: float | None) -> None:
        """Data at most so often (0 < it ≤ 1000), each time all that came meanwhile; None: as they come."""
        self._session.rate(max_per_second)
        self._wake()

    def shown(self, account: AccountId) -> Account | None:
        """The state now; None until the first answer."""
        return self._session.shown(account)

    async def events(self) -> AsyncIterator[Event]:
        """Ends after `stop`, or after a Disconnected that says so. May be left and entered again."""
        clock = asyncio.get_running_loop().time
        while True:
            while self._effects:
                effect = self._effects.popleft()
                if isinstance(effect, effects.Emit):
                    yield effect.event
                else:
                    await self._perform(effect)
            if self._session.state is State.STOPPED:
                await self._perform(effects.CloseSocket(1000))  # of a connection that was made meanwhile
                return
            what = await self._next()
            self._effects.extend(self._session.step(what, clock(), random()))

    async def _next(self) -> effects.Input:
        if self._dial:
            return await self._connect(self._dial)
        if self._renew:
            return await self._renewed()
        return await (self._hear(self._connection) if self._connection else self._sleep())

    async def _connect(self, url: str) -> effects.Input:
        try:
            async with asyncio.timeout_at(self._session.deadline):
                token = await self._token() if self._token else None
                self._connection = await connect(
                    url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    proxy=None,
                    open_timeout=None,  # the machine has its own
                    ping_interval=None,  # the gateway's heartbeat says that it lives
                    close_timeout=CLOSE_WITHIN,
                    max_size=LARGEST_FRAME,
                    max_queue=READ_AHEAD,
                )
        except (OSError, TimeoutError, WebSocketException) as failed:
            self._dial = None
            return effects.ConnectionLost(BROKEN, str(failed) or type(failed).__name__)
        self._dial = None
        if token is not None:
            await self._send(self._connection, encode(Auth(token)))
        return effects.Tick()  # the welcome is still to come

    async def _renewed(self) -> effects.Input:
        self._renew = False
        try:
            async with asyncio.timeout(TOKEN_WITHIN):
                return effects.TokenFetched(await self._token()) if self._token else effects.Tick()
        except (OSError, TimeoutError):
            return effects.Tick()  # the gateway will close with "expired", and the next connection asks again

    async def _hear(self, connection: ClientConnection) -> effects.Input:
        try:
            async with self._until_deadline():
                text = await connection.recv(decode=False)
        except TimeoutError:
            return effects.Tick()
        except ConnectionClosed as closed:
            self._connection = None
            return (
                effects.ConnectionLost(closed.rcvd.code, closed.rcvd.reason)
                if closed.rcvd
                else effects.ConnectionLost(BROKEN, "")
            )
        if self._heard:
            self._heard(text)
        return effects.Received(text)

    async def _sleep(self) -> effects.Input:
        try:
            async with self._until_deadline():
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            pass
        return effects.Tick()

    @asynccontextmanager
    async def _until_deadline(self) -> AsyncIterator[None]:
        async with asyncio.timeout_at(self._session.deadline) as alarm:
            self._alarm = alarm
            try:
                yield
            finally:
                self._alarm = None

    def _wake(self) -> None:
        """Whoever waits in `events()` looks again: the deadline may have come nearer."""
        if self._alarm and not self._alarm.expired():
            self._alarm.reschedule(0)

    async def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.OpenSocket(url):
                self._dial = url
            case effects.FetchToken():
                self._renew = True
            case effects.Send(text) if self._connection:
                await self._send(self._connection, text)
            case effects.CloseSocket(code, abort) if self._connection:
                connection, self._connection = self._connection, None
                if abort:
                    connection.transport.abort()
                else:
                    await connection.close(code)
            case _:
                pass  # said to a connection that was never made

    async def _send(self, connection: ClientConnection, text: bytes) -> None:
        try:
            async with asyncio.timeout(SEND_WITHIN):
                await connection.send(text, text=True)
        except TimeoutError:
            connection.transport.abort()  # nothing is taken any more; the next read says so
        except ConnectionClosed:
            pass  # the next read says so
