"""An HTTP protocol for uvicorn: limits for request heads, and a fast path for WebSocket handshakes."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.server import request_head
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.request_head import HeadSize, RequestHead, RequestRules
from livebalance.gateway.server.tcp import RestartableTimer
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs

PROTOCOL_KEY = "http_protocol"  # in `scope["state"]`: the HttpProtocol that received the request
_HANDSHAKE_START = b"GET /ws "
LINGER_SECONDS = 2.0  # time for a rejected client to read the response and close

_log = logs.get("http")


class HttpLimits(NamedTuple):
    """The limits of every HTTP connection of a gateway."""

    rules: RequestRules = RequestRules()
    head_timeout: float = 5.0  # seconds, from the connection or the first byte of the next request
    over_limit: Callable[[], Refusal | None] = lambda: None  # the refusal of every new WebSocket, if any


class LongResponse(Protocol):
    """A response that outlives its request handler, and so is notified of its connection's events."""

    def set_writable(self, writable: bool) -> None:
        """Called when the transport's buffer is full, and when there is room again."""

    def connection_lost(self) -> None:
        """Called when the connection is closed."""

    def shutdown(self) -> None:
        """Called when the server is about to stop."""


class _RefusedError(Exception):
    """Raised in a callback of the parser to stop it. `_refusal` has the reason."""


class HttpProtocol(HttpToolsProtocol):
    """One HTTP connection."""

    def __init__(self, *args: Any, limits: HttpLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._size = HeadSize()
        self._head_bytes = 0  # received of a head that is incomplete
        self._timer = RestartableTimer()
        self._in_head = False
        self._refusal: Refusal | None = None
        self._rejected = False
        self._long_response: LongResponse | None = None

    def set_long_response(self, response: LongResponse) -> None:
        """Registers the response that this connection ends with."""
        self._long_response = response

    @property
    def peer(self) -> Address:
        """The address of the other end, which may be a proxy."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Called by asyncio when a client has connected."""
        super().connection_made(transport)
        self._start_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection is closed."""
        self._end_head()
        if self._long_response:
            self._long_response.connection_lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by asyncio when the transport's buffer is full."""
        super().pause_writing()
        if self._long_response:
            self._long_response.set_writable(False)

    def resume_writing(self) -> None:
        """Called by asyncio when the transport's buffer has room again."""
        super().resume_writing()
        if self._long_response:
            self._long_response.set_writable(True)

    def shutdown(self) -> None:
        """Called by uvicorn when it is about to stop."""
        if self._long_response:
            self._long_response.shutdown()
        super().shutdown()

    def end_keep_alive(self) -> None:
        """Closes the connection, after its response if a response is due. An event stream goes on."""
        if not self._long_response:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio when bytes have arrived."""
        if self._rejected:
            return
        self._unset_keepalive_if_required()
        if data.startswith(_HANDSHAKE_START) and self._is_idle:
            if refusal := self._limits.over_limit():
                self._reject(refusal)
                return
            if _is_complete_handshake(data):
                self._switch_to_websocket(data)
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserInvalidMethodError:
            self._reject(request_head.BAD_METHOD if data[:1].isalpha() else request_head.BAD_REQUEST)
        except httptools.HttpParserError:
            self._reject(self._refusal or request_head.BAD_REQUEST)
        else:
            self._count_head_bytes(len(data))

    @property
    def _is_idle(self) -> bool:
        """Whether no request has begun to arrive or waits for its response."""
        return not self._head_bytes and (self.cycle is None or self.cycle.response_complete)

    def _switch_to_websocket(self, request: bytes) -> None:
        """Does the same as uvicorn's upgrade, but without its parser.

        Parsing the request twice would be a sixth of the cost of a new client.
        """
        self._end_head()
        self.connections.discard(self)
        websocket = self.ws_protocol_class(  # type: ignore[call-arg, misc]  # as in uvicorn
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        websocket.connection_made(self.transport)
        websocket.data_received(request)
        self.transport.set_protocol(websocket)

    def _count_head_bytes(self, size: int) -> None:
        """Limits a header that does not end: the parser calls nothing until a header is complete."""
        self._head_bytes = self._head_bytes + size if self._in_head else 0
        if self._head_bytes > request_head.MAX_HEAD_BYTES:
            self._reject(request_head.TOO_LARGE)

    # --- callbacks of the parser

    def on_message_begin(self) -> None:
        """Called by httptools at the first byte of a request."""
        super().on_message_begin()
        self.scope["state"][PROTOCOL_KEY] = self
        self._size = HeadSize()
        self._start_head()

    def on_url(self, url: bytes) -> None:
        """Called by httptools with a part of the target."""
        self._stop_if(self._size.add_target(len(url)))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by httptools with a complete header."""
        self._stop_if(self._size.add_header(len(name) + len(value) + len(b": \r\n")))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Called by httptools at the end of the head."""
        self._end_head()
        head = RequestHead(
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version(),
            self.headers,
            self.parser.should_upgrade() and self._should_upgrade(),
            self.peer,
        )
        self._stop_if(request_head.refusal(head, self._limits.rules))
        super().on_headers_complete()

    def _stop_if(self, refusal: Refusal | None) -> None:
        if refusal:
            self._refusal = refusal
            raise _RefusedError

    # --- rejecting

    def _reject(self, refusal: Refusal) -> None:
        """Sends the refusal, then reads and ignores input for `LINGER_SECONDS`.

        If the connection were closed with unread input, the client's system would discard the response.
        """
        self._end_head()
        self._rejected = True
        metrics.REJECTED.labels(refusal.reason).inc()
        _log.info("request rejected", reason=refusal.reason, status=refusal.status.value, address=self.peer)
        if self.cycle and not self.cycle.response_complete:
            self.transport.abort()  # part of another response may already be sent
            return
        self.transport.write(refusal.response())
        self.transport.write_eof()
        self._timer.start(LINGER_SECONDS, self.transport.abort)

    def _start_head(self) -> None:
        self._in_head = True
        self._timer.start(self._limits.head_timeout, self._abort_slow_head)

    def _end_head(self) -> None:
        self._in_head = False
        self._timer.cancel()

    def _abort_slow_head(self) -> None:
        reason = "slow_head" if self._head_bytes else "silent"
        metrics.REJECTED.labels(reason).inc()
        _log.info("connection aborted", reason=reason, address=self.peer)
        self.transport.abort()


def _is_complete_handshake(request: bytes) -> bool:
    """Returns whether the bytes are surely a complete handshake of usual size.

    Any other handshake goes through uvicorn's parser, which decides more slowly.
    """
    return (
        len(request) <= request_head.MAX_LINE_BYTES
        and request.startswith(b"GET /ws HTTP/1.1\r\n")
        and request.endswith(b"\r\n\r\n")
        and b"\r\nUpgrade: websocket\r\n" in request
        and request.count(b"\n") <= request_head.MAX_HEADERS
    )
