"""HTTP server for /livez, /readyz and /metrics: the port of every service that is for operators only."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import uvicorn

from livebalance.runtime import metrics

# Returns the reason why the service is not live or not ready, or None if it is.
Probe = Callable[[], str | None]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the service handles signals itself


# Takes the body of a POST request, and returns status, content type and body of the response.
PostHandler = Callable[[bytes], tuple[int, str, bytes]]
MAX_BODY_BYTES = 4096
EXCLUDE_HALTED = b"exclude=halted"  # query of /readyz for rollouts, which must not wait for an operator


def _response(path: str, query: bytes, live: Probe, ready: Probe, halted: Probe) -> tuple[int, str, bytes]:
    if path not in {"/livez", "/readyz"}:
        return 404, "text/plain", b"not found\n"
    reason = live() if path == "/livez" else ready() or (None if query == EXCLUDE_HALTED else halted())
    return (200, "text/plain", b"ok\n") if reason is None else (503, "text/plain", f"{reason}\n".encode())


async def read_body(receive: Receive) -> bytes:
    """Returns the request body. Stops reading after MAX_BODY_BYTES."""
    body, more = b"", True
    while more and len(body) <= MAX_BODY_BYTES:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    return body


@contextlib.asynccontextmanager
async def run_server(
    address: tuple[str, int],
    stopping: asyncio.Event,
    live: Probe,
    ready: Probe,
    post_handlers: Mapping[str, PostHandler] = MappingProxyType({}),
    *,
    halted: Probe = lambda: None,
    render_metrics: Callable[[], bytes] = metrics.render,
) -> AsyncIterator[None]:
    """Serves the probes and metrics while the block runs.

    Args:
        address: Host and port to listen on. With port 0 the server does not start.
        stopping: While it is set, /readyz fails with "stopping".
        live: Probe of /livez.
        ready: Probe of /readyz.
        post_handlers: Handlers of POST requests, by path.
        halted: Probe of what waits for an operator. /readyz asks it too, `/readyz?exclude=halted` does not.
        render_metrics: Returns the body of /metrics.
    """
    if address[1] == 0:
        yield
        return

    def unready_reason() -> str | None:
        return "stopping" if stopping.is_set() else ready()

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        handler = post_handlers.get(scope["path"]) if scope["method"] == "POST" else None
        if handler:
            status, content_type, body = handler(await read_body(receive))
        elif scope["path"] == "/metrics":
            status, content_type, body = 200, metrics.CONTENT_TYPE, render_metrics()
        else:
            status, content_type, body = _response(
                scope["path"], scope["query_string"], live, unready_reason, halted
            )
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with serve(app, address):
        yield


@contextlib.asynccontextmanager
async def serve(app: App, address: tuple[str, int]) -> AsyncIterator[None]:
    """Serves an ASGI application at host and port while the block runs."""
    host, port = address
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
