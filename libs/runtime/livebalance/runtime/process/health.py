"""/livez, /readyz and /metrics of a service that has no other door."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import uvicorn

from livebalance.runtime import metrics

# None while all is well, else the reason in a few words.
Probe = Callable[[], str | None]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service decides when it stops, not its health endpoint


# What is answered to a POST with this body: status, content type, body.
Post = Callable[[bytes], tuple[int, str, bytes]]
LARGEST = 4096  # bytes of a body


def _answer(path: str, live: Probe, ready: Probe) -> tuple[int, str, bytes]:
    if path == "/metrics":
        return 200, metrics.TYPE, metrics.shown()
    probe = {"/livez": live, "/readyz": ready}.get(path)
    if probe is None:
        return 404, "text/plain", b"not found\n"
    reason = probe()
    return (200, "text/plain", b"ok\n") if reason is None else (503, "text/plain", f"{reason}\n".encode())


async def _body(receive: Receive) -> bytes:
    """As much of it as is looked at."""
    body, more = b"", True
    while more and len(body) <= LARGEST:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body


@contextlib.asynccontextmanager
async def serving(
    at: tuple[str, int],
    stopping: asyncio.Event,
    live: Probe,
    ready: Probe,
    posts: Mapping[str, Post] = MappingProxyType({}),
) -> AsyncIterator[None]:
    """Serves at this host and port as long as the block runs; port 0: nothing. Who is stopping is not ready.

    `posts`: by path, what else is answered.
    """
    host, port = at
    if port == 0:
        yield
        return

    def unready() -> str | None:
        return "stopping" if stopping.is_set() else ready()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        post = posts.get(scope["path"]) if scope["method"] == "POST" else None
        if post:
            status, kind, body = post(await _body(receive))
        else:
            status, kind, body = _answer(scope["path"], live, unready)
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app, host=host, port=port, lifespan="off", ws="none", log_config=None, access_log=False
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    listening = asyncio.create_task(server.listening.wait())
    try:
        await asyncio.wait({task, listening}, return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        listening.cancel()
        server.should_exit = True
        await task
