"""The client: a WebSocket, the clock and random numbers around the state machine of `session`."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import random
from types import TracebackType
from typing import Self

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from livebalance.client import effects
from livebalance.client.account import Account
from livebalance.client.account_set import AccountSet
from livebalance.client.event import Event
from livebalance.client.read import Reader
from livebalance.client.session import ABNORMAL_CLOSURE, Session, State
from livebalance.wire.frame import SUBPROTOCOL, Auth, encode_frame
from livebalance.wire.identity import AccountId, Position

READ_AHEAD = 16  # frames
MAX_FRAME_BYTES = 4 * 1024 * 1024
SEND_TIMEOUT = 10.0  # seconds
TOKEN_TIMEOUT = 10.0  # seconds
CLOSE_TIMEOUT = 1.0  # seconds to wait for the gateway's close frame

# Returns a valid token. After one of TOKEN_FAILURES the client retries later.
TokenProvider = Callable[[], Awaitable[str]]
TOKEN_FAILURES = (OSError, TimeoutError, httpx.TransportError)


class Client:
    """Follows accounts through the first gateway that answers, and reconnects when the connection is lost.

        async with Client("ws://127.0.0.1:8080/ws", token=token) as client:
            client.follow(AccountId("alice"))
            async for event in client.events():
                ...

    All work is done inside `events()`: if the loop pauses, the client stops reading. At most `READ_AHEAD`
    frames then wait in the client. The gateway merges everything else, and no transfer is lost.

    Args:
        urls: Addresses of gateways, tried in turn.
        token: Called for each connection, and again before its token expires, and for each request of `read`.
            None: no `auth` is sent.
        patches: Asks for patches, which take fewer bytes than deltas. Events have whole deltas all the same.
        on_frame: Called with each frame before it is decoded, for logs.

    Raises:
        ValueError: No address is given.
        websockets.exceptions.InvalidURI: An address is not a WebSocket URL.
    """

    def __init__(
        self,
        *urls: str,
        token: TokenProvider | None = None,
        patches: bool = False,
        on_frame: Callable[[bytes], None] | None = None,
    ) -> None:
        for url in urls:
            parse_uri(url)
        self._session = Session(urls, patches=patches)
        self._token = token
        self._reader = Reader(urls, token)
        self._on_frame = on_frame
        self._effects: deque[effects.Effect] = deque()  # of the last step, not performed yet
        self._url: str | None = None  # to connect to
        self._must_refresh = False
        self._connection: ClientConnection | None = None
        self._alarm: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Closes all connections. `events()` ends."""
        self._effects = deque(self._session.step(effects.Stop(), 0.0, 0.0))
        while self._effects:
            await self._perform(self._effects.popleft())
        self._wake()
        await self._reader.close()

    def follow(self, account: AccountId, since: Position | None = None) -> None:
        """Subscribes to an account.

        The first `Changed` event contains the whole state. With `since`, a position of an earlier state, only
        the revisions after it arrive.
        """
        self._session.follow(account, since)
        self._wake()

    def unfollow(self, account: AccountId) -> None:
        """Unsubscribes from an account. The account causes no further events."""
        self._session.unfollow(account)
        self._wake()

    def follow_set(self, channel: str) -> None:
        """Subscribes to a set of accounts: `prefix:<prefix>` or `client:<client id>`.

        Each `SetChanged` event has the members and the total of a position. Needs a gateway with the feature
        `sets`; any other answers with an error.

        Raises:
            DecodeError: `channel` is not the name of a set.
        """
        self._session.follow_set(channel)
        self._wake()

    def unfollow_set(self, channel: str) -> None:
        """Unsubscribes from a set. The set causes no further events."""
        self._session.unfollow_set(channel)
        self._wake()

    def set_state(self, channel: str) -> AccountSet | None:
        """Returns a set at its last position, or None before the first."""
        return self._session.set_state(channel)

    def rate(self, max_per_second: float | None) -> None:
        """Sets the maximum updates per second (0 < rate ≤ 1000; None: no limit).

        Changes in between arrive together. The limit also applies after a reconnect.

        Raises:
            ValueError: The rate is outside these bounds.
        """
        self._session.rate(max_per_second)
        self._wake()

    def account_state(self, account: AccountId) -> Account | None:
        """Returns the current state of an account, or None before its first frame."""
        return self._session.account_state(account)

    async def read(self, account: AccountId, *, min_revision: int = 0, within: float = 10.0) -> Account:
        """Returns the state of an account, with its newest 50 transfers. The account need not be followed.

        If the account has not reached `min_revision`, the gateway waits for it. So a program reads what it
        has written, wherever it is in the pipeline.

        Args:
            account: The account to read. If it does not exist yet, its revision is 0.
            min_revision: The state has this revision, or a later revision.
            within: Seconds after which `ReadError` is raised. Until then the request is repeated if a gateway
                is unreachable, if the user's budget is used up, or if the revision is not reached yet.

        Raises:
            ReadError: Its `code` says why: `not_yet`, `no_access`, `unreachable`, …
            DecodeError: `account` is not an account id.
        """
        return await self._reader.read(account, min_revision, within)

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yields events until `stop` is called or a Disconnected event has no `retry_in`.

        The loop may be left and entered again at any time.
        """
        clock = asyncio.get_running_loop().time
        while True:
            while self._effects:
                effect = self._effects.popleft()
                if isinstance(effect, effects.Emit):
                    yield effect.event
                else:
                    await self._perform(effect)
            if self._session.state is State.STOPPED:
                await self._perform(effects.CloseSocket(1000))  # if a connection opened during `stop`
                return
            input_ = await self._next_input()
            self._effects.extend(self._session.step(input_, clock(), random()))

    async def _next_input(self) -> effects.Input:
        if self._url:
            return await self._connect(self._url)
        if self._must_refresh:
            return await self._fetch_token()
        return await (self._receive(self._connection) if self._connection else self._sleep())

    async def _connect(self, url: str) -> effects.Input:
        try:
            async with asyncio.timeout_at(self._session.deadline):
                token = await self._token() if self._token else None
                self._connection = await connect(
                    url,
                    subprotocols=[Subprotocol(SUBPROTOCOL)],
                    compression=None,
                    proxy=None,
                    open_timeout=None,  # the session has its own
                    ping_interval=None,  # the gateway's heartbeats show that it is alive
                    close_timeout=CLOSE_TIMEOUT,
                    max_size=MAX_FRAME_BYTES,
                    max_queue=READ_AHEAD,
                )
        except (*TOKEN_FAILURES, WebSocketException) as failed:
            self._url = None
            return effects.ConnectionLost(ABNORMAL_CLOSURE, str(failed) or type(failed).__name__)
        self._url = None
        if token is not None:
            await self._send(self._connection, encode_frame(Auth(token)))
        return effects.Tick()  # `welcome` is still to come

    async def _fetch_token(self) -> effects.Input:
        self._must_refresh = False
        try:
            async with asyncio.timeout(TOKEN_TIMEOUT):
                return effects.TokenFetched(await self._token()) if self._token else effects.Tick()
        except TOKEN_FAILURES:
            return effects.Tick()  # the gateway will close with 4001, and the next connection fetches a token

    async def _receive(self, connection: ClientConnection) -> effects.Input:
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
                else effects.ConnectionLost(ABNORMAL_CLOSURE, "")
            )
        if self._on_frame:
            self._on_frame(text)
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
        """Ends the current wait of `events()`, because the deadline may be earlier now."""
        if self._alarm and not self._alarm.expired():
            self._alarm.reschedule(0)

    async def _perform(self, effect: effects.Effect) -> None:
        match effect:
            case effects.OpenSocket(url):
                self._url = url
            case effects.FetchToken():
                self._must_refresh = True
            case effects.Send(text) if self._connection:
                await self._send(self._connection, text)
            case effects.CloseSocket(code, abort) if self._connection:
                connection, self._connection = self._connection, None
                if abort:
                    connection.transport.abort()
                else:
                    await connection.close(code)
            case _:
                pass  # the connection was never opened

    async def _send(self, connection: ClientConnection, text: bytes) -> None:
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await connection.send(text, text=True)
        except TimeoutError:
            connection.transport.abort()  # the gateway reads nothing; the next read reports the loss
        except ConnectionClosed:
            pass  # the next read reports it
