"""An event-stream client, like a browser's EventSource, with the checks of `WebSocketClient`."""

import asyncio
import json
from copy import copy
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests import tokens
from tests.integration.gateway.narrow_socket import narrow_socket
from tests.integration.gateway.websocket_client import WITHIN, Frame, ShownAccount


class CloseEvent(NamedTuple):
    """The event `close`."""

    code: int
    reason: str
    retry_after_ms: int | None


class SseClient:
    """Reads the events of `accounts` with `token`: by default a new token; None: no token."""

    def __init__(
        self,
        http: str,
        *accounts: str,
        token: str | None = "",
        last_event_id: str | None = None,
        shown: dict[str, ShownAccount] | None = None,
        narrow: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._http, self._narrow = http, narrow
        query = "&".join(f"account={account}" for account in accounts)
        fields = {"Host": "here", **(headers or {})}
        if token is not None:
            fields["Authorization"] = f"Bearer {token or tokens.token()}"
        if last_event_id is not None:
            fields["Last-Event-ID"] = last_event_id
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._request = f"GET /api/v1/events?{query} HTTP/1.1\r\n{head}\r\n".encode()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""  # of a response that is not a stream
        self.last_event_id = last_event_id
        self.retry: int | None = None
        self.frames: list[Frame] = []
        self.shown = dict(shown or {})
        self.points: list[tuple[str, dict[str, ShownAccount]]] = []  # each id, and what was shown with it
        self.end: CloseEvent | None = None
        self.reading = asyncio.Event()
        self.reading.set()
        self._changed = asyncio.Condition()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._read_task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        url = urlsplit(self._http)
        address = (
            {"sock": narrow_socket(self._http)} if self._narrow else {"host": url.hostname, "port": url.port}
        )
        self._reader, self._writer = await asyncio.open_connection(**address, limit=4096)
        self._writer.write(self._request)
        async with asyncio.timeout(WITHIN):
            await self._read_head()
        self._read_task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._read_task.cancel()
        self._writer.transport.abort()
        await asyncio.wait({self._read_task})
        if not self._read_task.cancelled() and error is None:
            self._read_task.result()

    @property
    def code(self) -> str:
        """The code of the problem that the server answered."""
        code: str = json.loads(self.body)["code"]
        return code

    async def _read_head(self) -> None:
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        self.status = int(status.split(" ")[1])
        self.headers = dict(line.lower().split(": ", 1) for line in lines)
        if self.status != 200:
            self.body = await self._reader.readexactly(int(self.headers["content-length"]))

    async def _read(self) -> None:
        incomplete = b""
        while self.status == 200:
            await self.reading.wait()
            incomplete += await self._read_chunk()
            *events, incomplete = incomplete.split(b"\n\n")
            for event in events:
                await self._receive(event.decode())
            if self.end or self._reader.at_eof():
                break
        async with self._changed:
            self._changed.notify_all()

    async def _read_chunk(self) -> bytes:
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return b""

    async def _receive(self, event: str) -> None:
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        self.last_event_id = fields.get("id", self.last_event_id)
        self.retry = int(fields["retry"]) if "retry" in fields else self.retry
        data = json.loads(fields["data"])
        if fields.get("event") == "close":
            reason = data["reason"]
            self.end = CloseEvent(data["code"], reason["code"], reason.get("retry_after_ms"))
        else:
            self._apply(data)
        if "id" in fields:
            shown = {account: copy(state) for account, state in self.shown.items()}
            self.points.append((fields["id"], shown))
        async with self._changed:
            self._changed.notify_all()

    def _apply(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame["type"] in ("snapshot", "delta"):
            self.shown.setdefault(frame["channel"].removeprefix("account:"), ShownAccount()).apply(frame)

    async def until(self, happened: Any, within: float = WITHIN) -> None:
        """Waits until `happened()` is true. It is called after every event."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: bool(happened()) or self._read_task.done())
        assert happened(), f"ended before it happened: {self.status} {self.end}"

    async def until_at(self, account: str, revision: int, within: float = WITHIN) -> ShownAccount:
        await self.until(lambda: self.revision(account) == revision, within)
        return self.shown[account]

    async def until_end(self, within: float = WITHIN) -> CloseEvent:
        """Waits until the server has ended the response."""
        await self.until(lambda: self.end, within)
        async with asyncio.timeout(within):
            assert await self._reader.readexactly(5) == b"0\r\n\r\n"
        assert self.end
        return self.end

    def revision(self, account: str) -> int | None:
        shown = self.shown.get(account)
        return shown.position["revision"] if shown and shown.position else None

    def of_type(self, type_: str) -> list[Frame]:
        return [frame for frame in self.frames if frame["type"] == type_]
