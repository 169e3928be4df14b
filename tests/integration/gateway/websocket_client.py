"""A WebSocket client that keeps every frame and the accounts they make. It fails if frames do not chain."""

import asyncio
import json
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from livebalance.wire.frame import SUBPROTOCOL
from tests import tokens

Frame = dict[str, Any]
WITHIN = 30.0


class ShownAccount:
    """An account as the client shows it."""

    def __init__(self) -> None:
        self.position: dict[str, Any] | None = None
        self.balance: Frame | None = None
        self.transfers: list[Frame] = []  # oldest first

    def apply(self, frame: Frame) -> None:
        if frame["type"] == "snapshot":
            self.transfers = frame["transfers"][::-1]
            self.balance = frame["balance"]
            self.position = {"epoch": frame["epoch"], "revision": frame["revision"]}
            return
        assert self.position == {"epoch": frame["epoch"], "revision": frame["from"]}, "frames must chain"
        assert ("balance" in frame) is not frame.get("more", False)
        self.transfers = self.transfers + frame["transfers"]
        self.balance = frame.get("balance", self.balance)
        self.position = {"epoch": frame["epoch"], "revision": frame["to"]}


class WebSocketClient:
    """Authenticates with `token`, by default a new token for every account. None: does not authenticate."""

    def __init__(self, url: str, *, token: str | None = "", **options: Any) -> None:
        self._token = tokens.token() if token == "" else token
        self._url, self._options = url, options
        self.frames: list[Frame] = []
        self.shown: dict[str, ShownAccount] = {}
        self.closed: tuple[int, str] | None = None
        self._changed = asyncio.Condition()
        self._socket: ClientConnection
        self._reader: asyncio.Task[None]
        self._requests = 0
        self.reading = asyncio.Event()  # cleared: the client stops reading, as a page in a sleeping tab may
        self.reading.set()

    async def __aenter__(self) -> Self:
        self._socket = await connect(
            self._url,
            **{
                "subprotocols": [Subprotocol(SUBPROTOCOL)],
                "compression": None,
                "proxy": None,
                "max_size": None,
                "max_queue": 1,
                "open_timeout": WITHIN,
                **self._options,
            },
        )
        self._reader = asyncio.create_task(self._read())
        if self._token is not None:
            await self.send(json.dumps({"type": "auth", "token": self._token}))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.cancel()
        self._socket.transport.abort()
        await asyncio.wait({self._reader})
        if not self._reader.cancelled() and error is None:
            self._reader.result()

    async def _read(self) -> None:
        try:
            while True:
                await self.reading.wait()
                await self._receive(json.loads(await self._socket.recv()))
        except ConnectionClosed:
            protocol = self._socket.protocol
            self.closed = (protocol.close_code or 1006, protocol.close_reason or "")
            async with self._changed:
                self._changed.notify_all()

    async def _receive(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame["type"] in ("snapshot", "delta"):
            self.shown.setdefault(frame["channel"].removeprefix("account:"), ShownAccount()).apply(frame)
        async with self._changed:
            self._changed.notify_all()

    @property
    def transport(self) -> asyncio.Transport:
        return self._socket.transport

    async def send(self, text: str | bytes) -> None:
        await self._socket.send(text)

    async def request(self, type_: str, **fields: Any) -> int:
        """Sends a message with an id, and returns the id."""
        self._requests += 1
        await self.send(json.dumps({"type": type_, "id": self._requests, **fields}))
        return self._requests

    async def subscribe(self, *accounts: str, position: dict[str, Any] | None = None) -> int:
        resume = {"position": position} if position else {}
        return await self.request(
            "subscribe", channels=[{"channel": f"account:{account}", **resume} for account in accounts]
        )

    async def until(self, happened: Any, within: float = WITHIN) -> None:
        """Waits until `happened()` is true. It is called after every frame."""

        def is_over() -> bool:
            return bool(happened()) or self._reader.done()

        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(is_over)
        if self._reader.done():
            self._reader.result()
        assert happened(), f"closed before it happened: {self.closed}"

    async def until_at(self, account: str, revision: int, within: float = WITHIN) -> ShownAccount:
        await self.until(lambda: self.revision(account) == revision, within)
        return self.shown[account]

    def revision(self, account: str) -> int | None:
        shown = self.shown.get(account)
        return shown.position["revision"] if shown and shown.position else None

    async def until_closed(self, within: float = WITHIN) -> tuple[int, str]:
        await self.until(lambda: self.closed, within)
        assert self.closed
        return self.closed

    def of_type(self, type_: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == type_]


def position_of(shown: ShownAccount) -> Frame:
    assert shown.position
    return shown.position
