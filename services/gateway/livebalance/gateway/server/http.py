"""An HTTP protocol for uvicorn: limits for request heads, and a fast path for WebSocket handshakes."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.limits.connections import RETRY_AFTER_FULL, Rejection
from livebalance.gateway.server import request_head
from livebalance.gateway.server.admission import Admission
from livebalance.gateway.server.places import Places
from livebalance.gateway.server.plain_handshake import read_plain_handshake
from livebalance.gateway.server.refusal import Refusal, refuse_over_limit
from livebalance.gateway.server.request_head import HeadSize, RequestHead, RequestRules
from livebalance.gateway.server.tcp import RestartableTimer
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs

PROTOCOL_KEY = "http_protocol"  # in `scope["state"]`: the HttpProtocol that received the request
_HANDSHAKE_START = b"GET /ws "
LINGER_SECONDS = 2.0  # time for a rejected client to read the response and close
MAX_LINGER_BYTES = 1024 * 1024  # that a rejected client may send meanwhile

MAX_PIPELINED = 16  # requests that wait for the response to an earlier one; each takes about 2.5 KiB
_FULL = refuse_over_limit(Rejection("full", RETRY_AFTER_FULL))

_log = logs.get("http")


class HttpLimits(NamedTuple):
    """The limits of every HTTP connection of a gateway."""

    rules: RequestRules
    head_timeout: float  # seconds, from the connection or the first byte of the next request
    write_timeout: float  # seconds for a client to read what fills the transport's buffer, or the last bytes
    admission: Admission
    max_without_session: Callable[[int], int]  # connections beside so many sessions, of all addresses
    max_lingering: int
    lingering: set["HttpProtocol"]  # the connections that were rejected and are still open


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
    """One HTTP connection.

    A request ends with its last byte, not with its response. The gateway reads no bodies. It rejects a
    request with a body, and closes the connection (`request_head.refusal`). Others end with their head.
    """

    def __init__(self, *args: Any, limits: HttpLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Bytes that follow the last request of a connection are no request.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=False)
        self._limits = limits
        self._size = HeadSize()
        self._head_bytes = 0  # received of a head that is incomplete
        self._timer = RestartableTimer()
        self._write_timer = RestartableTimer()
        self._in_head = False
        self._in_message = False  # a request has begun to arrive, and has not ended
        self._is_last = False  # the client sends no further request (RFC 9112 §9.6)
        self._refusal: Refusal | None = None
        self._ignores_input = False
        self._linger_bytes = 0
        self.places = Places(limits.admission, limits.rules.trusted_proxies)
        self._long_response: LongResponse | None = None

    def set_long_response(self, response: LongResponse) -> None:
        """Registers the response that this connection ends with."""
        self._long_response = response

    async def until_writable(self) -> None:
        """Waits until the transport's buffer has room, as uvicorn does before it writes."""
        await self.flow.drain()

    @property
    def peer(self) -> Address:
        """The address of the other end, which may be a proxy."""
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Called by asyncio when a client has connected."""
        super().connection_made(transport)
        self.ws_protocol_class = partial(self.ws_protocol_class, peer=self.peer)  # type: ignore[assignment, arg-type, call-arg, misc]
        if not self.peer:
            transport.abort()  # the client has reset the connection already
        elif refusal := _FULL if self._are_too_many else self.places.connect(self.peer):
            self._reject(refusal)
        else:
            self._start_head()

    @property
    def _are_too_many(self) -> bool:
        """Whether so many connections have no session that this process could run out of files."""
        sessions, lingering = self._limits.admission.sessions, len(self._limits.lingering)
        without_session = len(self.server_state.connections) - sessions - lingering
        return without_session > self._limits.max_without_session(sessions)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection is closed."""
        self._end_head()
        self._write_timer.cancel()
        self._limits.lingering.discard(self)
        self.places.release()
        if self._long_response:
            self._long_response.connection_lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Called by asyncio when the transport's buffer is full."""
        super().pause_writing()
        if self._long_response:
            self._long_response.set_writable(False)
        else:
            self._write_timer.start(self._limits.write_timeout, self._abort_unread)

    def resume_writing(self) -> None:
        """Called by asyncio when the transport's buffer has room again."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._write_timer.cancel()
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
        if self._ignores_input:
            self._linger_bytes += len(data)
            if self._linger_bytes > MAX_LINGER_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        if self._is_idle:
            if data.startswith(_HANDSHAKE_START):
                if refusal := self._limits.admission.overload():
                    self._reject(refusal)
                    return
                if head := read_plain_handshake(data, self.peer):
                    self._switch_to_websocket(head)
                    return
            if not self._in_head:
                self._start_head()  # also for empty lines, at which no request begins
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._feed(rest) :]
        except httptools.HttpParserInvalidMethodError:
            self._reject(request_head.BAD_METHOD if bytes(rest[:1]).isalpha() else request_head.BAD_REQUEST)
        except httptools.HttpParserError:
            if self._is_last and not self._in_message:
                self._ignores_input = True
            else:
                self._reject(self._refusal or request_head.BAD_REQUEST)

    def _feed(self, data: memoryview) -> int:
        """Parses bytes, and returns how many. Ignores upgrades to other protocols (RFC 9110 §7.8)."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._should_upgrade():
                size: int = upgrade.args[0]
                return size
            if self._has_pending_response:  # it would be read as frames
                self._reject(request_head.BAD_REQUEST)
            else:
                self._hand_over()
                self.handle_websocket_upgrade()
        else:
            self._count_head_bytes(len(data))
        return len(data)

    @property
    def _is_idle(self) -> bool:
        """Whether no request has begun to arrive or waits for its response."""
        return not self._in_message and not self._has_pending_response

    @property
    def _has_pending_response(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _switch_to_websocket(self, head: RequestHead) -> None:
        """Does the same as uvicorn's upgrade, but without its parser and that of `websockets`."""
        self._end_head()
        self._hand_over()
        self.connections.discard(self)
        create: Any = self.ws_protocol_class
        websocket: WebSocketConnection = create(
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        websocket.connection_made(self.transport)
        self.transport.set_protocol(websocket)
        websocket.open(head)

    def _hand_over(self) -> None:
        """Leaves the place and the writing to the WebSocket."""
        self.places.hand_over()
        self._write_timer.cancel()

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
        self._in_message = True
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
        self._is_last = not self.parser.should_keep_alive()
        head = RequestHead(
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version(),
            request_head.by_name(self.headers),
            self.parser.should_upgrade() and self._should_upgrade(),
            self.peer,
        )
        self._stop_if(request_head.refusal(head, self._limits.rules))
        self._stop_if(request_head.PIPELINED if len(self.pipeline) == MAX_PIPELINED else None)
        self._stop_if(self.places.begin_request(head))
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by httptools at the end of a request."""
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Called by uvicorn at the end of a response."""
        self.places.end_request()
        super().on_response_complete()
        self._watch_close()

    def timeout_keep_alive_handler(self) -> None:
        """Called by uvicorn if no further request has arrived in time."""
        super().timeout_keep_alive_handler()
        self._watch_close()

    def _stop_if(self, refusal: Refusal | None) -> None:
        if refusal:
            self._refusal = refusal
            raise _RefusedError

    # --- rejecting

    def _reject(self, refusal: Refusal) -> None:
        """Sends the refusal, then reads and ignores input for `LINGER_SECONDS`.

        If the connection were closed with unread input, the client's system would discard the response. If
        the client awaits the response to an earlier request, the connection is closed after that instead.
        """
        self._end_head()
        self._ignores_input = True
        metrics.REJECTED.labels(refusal.reason).inc()
        _log.info("request rejected", reason=refusal.reason, status=refusal.status.value, address=self.peer)
        if self._has_pending_response:
            self.cycle.keep_alive = False
            return
        lingering = self._limits.lingering
        if len(lingering) >= self._limits.max_lingering:
            self.transport.abort()
            return
        lingering.add(self)
        self.transport.write(refusal.response())
        self.transport.write_eof()
        self._timer.start(LINGER_SECONDS, self.transport.abort)

    def _start_head(self) -> None:
        self._in_head = True
        self._timer.start(self._limits.head_timeout, self._abort_slow_head)

    def _end_head(self) -> None:
        self._in_head = False
        self._timer.cancel()

    def _watch_close(self) -> None:
        """Limits the time in which the client reads the rest, if the connection is being closed."""
        if self.transport.is_closing() and not self._write_timer.is_running:
            self._write_timer.start(self._limits.write_timeout, self._abort_unread)

    def _abort_unread(self) -> None:
        _log.info("connection aborted", reason="no_progress", address=self.peer)
        self.transport.abort()

    def _abort_slow_head(self) -> None:
        reason = "slow_head" if self._head_bytes else "silent"
        metrics.REJECTED.labels(reason).inc()
        _log.info("connection aborted", reason=reason, address=self.peer)
        self.transport.abort()
