"""/livez, /readyz and /metrics of a service that has no other door."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

# None while all is well, else the reason in a few words.
Probe = Callable[[], str | None]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service decides when it stops, not its health endpoint


def _answer(path: str, live: Probe, ready: Probe) -> tuple[int, str, bytes]:
    if path == "/metrics":
        return 200, CONTENT_TYPE_LATEST, generate_latest()
    probe = {"/livez": live, "/readyz": ready}.get(path)
    if probe is None:
        return 404, "text/plain", b"not found\n"
    reason = probe()
    return (200, "text/plain", b"ok\n") if reason is None else (503, "text/plain", f"{reason}\n".encode())


@contextlib.asynccontextmanager
async def serving(host: str, port: int, live: Probe, ready: Probe) -> AsyncIterator[None]:
    """Serves while the block runs; port 0 serves nothing."""
    if port == 0:
        yield
        return

    async def app(scope: dict[str, Any], _receive: object, send: Send) -> None:
        status, kind, body = _answer(scope["path"], live, ready)
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(
        app, host=host, port=port, lifespan="off", ws="none", log_config=None, access_log=False
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await task
