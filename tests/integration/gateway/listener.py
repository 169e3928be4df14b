"""A reader of events, as a browser's EventSource is one; what it is told goes through the viewer's checks."""

import asyncio
import json
from copy import copy
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.integration.gateway.straw import straw
from tests.integration.gateway.viewer import WITHIN, Frame, Shown
from tests.tokens import token


class End(NamedTuple):
    """The event `close`."""

    code: int
    word: str
    retry_after_ms: int | None


class Listener:
    """`shows`: its token; None: it shows none."""

    def __init__(
        self,
        http: str,
        *accounts: str,
        shows: str | None = "",
        mark: str | None = None,
        shown: dict[str, Shown] | None = None,
        narrow: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._http, self._narrow = http, narrow
        query = "&".join(f"account={one}" for one in accounts)
        given = {"Host": "here", **(headers or {})}
        if shows is not None:
            given["Authorization"] = f"Bearer {shows or token()}"
        if mark is not None:
            given["Last-Event-ID"] = mark
        told = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self._request = f"GET /api/v1/events?{query} HTTP/1.1\r\n{told}\r\n".encode()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""  # of an answer that is no stream
        self.mark = mark
        self.retry: int | None = None
        self.frames: list[Frame] = []
        self.shown = dict(shown or {})
        self.points: list[tuple[str, dict[str, Shown]]] = []  # each id, and what was shown with it
        self.end: End | None = None
        self.reads = asyncio.Event()
        self.reads.set()
        self._news = asyncio.Condition()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._reading: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        at = urlsplit(self._http)
        way = {"sock": straw(self._http)} if self._narrow else {"host": at.hostname, "port": at.port}
        self._reader, self._writer = await asyncio.open_connection(**way, limit=4096)
        self._writer.write(self._request)
        async with asyncio.timeout(WITHIN):
            await self._begin()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._reading.cancel()
        self._writer.transport.abort()
        await asyncio.wait({self._reading})
        if not self._reading.cancelled() and error is None:
            self._reading.result()

    @property
    def code(self) -> str:
        """Of the problem it was answered with."""
        found: str = json.loads(self.body)["code"]
        return found

    async def _begin(self) -> None:
        status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        self.status = int(status.split(" ")[1])
        self.headers = dict(one.lower().split(": ", 1) for one in lines)
        if self.status != 200:
            self.body = await self._reader.readexactly(int(self.headers["content-length"]))

    async def _read(self) -> None:
        waiting = b""
        while self.status == 200:
            await self.reads.wait()
            waiting += await self._chunk()
            *events, waiting = waiting.split(b"\n\n")
            for event in events:
                await self._hear(event.decode())
            if self.end or self._reader.at_eof():
                break
        async with self._news:
            self._news.notify_all()

    async def _chunk(self) -> bytes:
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            return (await self._reader.readexactly(size + 2))[:-2]
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return b""

    async def _hear(self, event: str) -> None:
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        self.mark = fields.get("id", self.mark)
        self.retry = int(fields["retry"]) if "retry" in fields else self.retry
        data = json.loads(fields["data"])
        if fields.get("event") == "close":
            reason = data["reason"]
            self.end = End(data["code"], reason["code"], reason.get("retry_after_ms"))
        else:
            self._take(data)
        if "id" in fields:
            self.points.append((fields["id"], {name: copy(one) for name, one in self.shown.items()}))
        async with self._news:
            self._news.notify_all()

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame["type"] in ("snapshot", "delta"):
            self.shown.setdefault(frame["channel"].removeprefix("account:"), Shown()).take(frame)

    async def until(self, happened: Any, within: float = WITHIN) -> None:
        async with asyncio.timeout(within), self._news:
            await self._news.wait_for(lambda: bool(happened()) or self._reading.done())
        assert happened(), f"ended before it happened: {self.status} {self.end}"

    async def until_at(self, account: str, revision: int, within: float = WITHIN) -> Shown:
        await self.until(lambda: self.revision(account) == revision, within)
        return self.shown[account]

    async def until_end(self, within: float = WITHIN) -> End:
        """And until the response is whole."""
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
