"""HTTP in, with what uvicorn leaves out: how long a head may take, how big it may be, and for whom it is."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from livebalance.gateway.limits.connections import Address
from livebalance.gateway.server import request_head
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.request_head import HeadSize, RequestHead, RequestRules
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs

STATE = "door"  # where an answer finds the door it leaves by, in the state of its request
_SOCKET = b"GET /ws "  # so begin those who come by the thousand; who begins otherwise is looked at longer
LINGER = 2.0  # seconds in which who was refused may read why, and close

_log = logs.get("door")


class HttpLimits(NamedTuple):
    rules: RequestRules = RequestRules()
    head_within: float = 5.0  # seconds, from the connection or the first byte of the next request
    crowded: Callable[[], Refusal | None] = lambda: None  # whether no socket may come in now, whose ever


class LongResponse(Protocol):
    """An answer that goes on for long, and is told of its connection."""

    def writable(self, writable: bool) -> None: ...
    def lost(self) -> None: ...
    def stop(self) -> None:
        """The server is about to stop."""


class _RefusedError(Exception):
    """Ends the parser; what is to be said stands in the door."""


class HttpProtocol(HttpToolsProtocol):
    def __init__(self, *args: Any, threshold: HttpLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._threshold = threshold
        self._size = HeadSize()
        self._came = 0  # bytes of an unfinished head
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = False
        self._why: Refusal | None = None
        self._refused = False
        self._staying: LongResponse | None = None

    def keep(self, answer: LongResponse) -> None:
        """The one that is being given; nothing more is answered on this connection."""
        self._staying = answer

    @property
    def peer(self) -> Address:
        return self.client[0] if self.client else ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        super().connection_made(transport)
        self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        if self._staying:
            self._staying.lost()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._staying:
            self._staying.writable(False)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._staying:
            self._staying.writable(True)

    def shutdown(self) -> None:
        if self._staying:
            self._staying.stop()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        if data.startswith(_SOCKET) and self._is_between:
            if crowded := self._threshold.crowded():
                self._refuse(crowded)
                return
            if _is_whole(data):
                self._hand_over(data)
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
        except httptools.HttpParserInvalidMethodError:
            self._refuse(request_head.BAD_METHOD if data[:1].isalpha() else request_head.BAD_REQUEST)
        except httptools.HttpParserError:
            self._refuse(self._why or request_head.BAD_REQUEST)
        else:
            self._count(len(data))

    @property
    def _is_between(self) -> bool:
        """No request has begun that has not been answered."""
        return not self._came and (self.cycle is None or self.cycle.response_complete)

    def _hand_over(self, request: bytes) -> None:
        """As uvicorn does, but before its parser: to parse twice is a sixth of a client's way in."""
        self._stop()
        self.connections.discard(self)
        socket = self.ws_protocol_class(  # type: ignore[call-arg, misc]  # as in uvicorn
            config=self.config, server_state=self.server_state, app_state=self.app_state
        )
        socket.connection_made(self.transport)
        socket.data_received(request)
        self.transport.set_protocol(socket)

    def _count(self, size: int) -> None:
        """A header that does not end is told to nobody until it does."""
        self._came = self._came + size if self._in_head else 0
        if self._came > request_head.HEAD_BYTES:
            self._refuse(request_head.TOO_LARGE)

    # --- what the parser finds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][STATE] = self
        self._size = HeadSize()
        self._start()

    def on_url(self, url: bytes) -> None:
        self._judge(self._size.target(len(url)))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._judge(self._size.header(len(name) + len(value) + len(b": \r\n")))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop()
        found = RequestHead(
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version(),
            self.headers,
            self.parser.should_upgrade() and self._should_upgrade(),
            self.client[0] if self.client else "",
        )
        self._judge(request_head.refusal(found, self._threshold.rules))
        super().on_headers_complete()

    def _judge(self, refusal: Refusal | None) -> None:
        if refusal:
            self._why = refusal
            raise _RefusedError

    # --- the end

    def _refuse(self, refusal: Refusal) -> None:
        """Said before it is closed: what it still sends is read, or its system would drop our answer."""
        self._stop()
        self._refused = True
        metrics.TURNED.labels(refusal.reason).inc()
        _log.info("refused", reason=refusal.reason, status=refusal.status.value, address=self.peer)
        if self.cycle and not self.cycle.response_complete:
            self.transport.abort()  # it is in the middle of another answer
            return
        self.transport.write(refusal.response())
        self.transport.write_eof()
        self._deadline = self.loop.call_later(LINGER, self.transport.abort)

    def _start(self) -> None:
        self._stop()
        self._in_head = True
        self._deadline = self.loop.call_later(self._threshold.head_within, self._too_slow)

    def _stop(self) -> None:
        self._in_head = False
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        reason = "slow_head" if self._came else "silent"
        metrics.TURNED.labels(reason).inc()
        _log.info("cut off", reason=reason, address=self.peer)
        self.transport.abort()


def _is_whole(request: bytes) -> bool:
    """Surely the head of a handshake, all of it, and of no unusual size."""
    return (
        len(request) <= request_head.LINE_BYTES
        and request.startswith(b"GET /ws HTTP/1.1\r\n")
        and request.endswith(b"\r\n\r\n")
        and b"\r\nUpgrade: websocket\r\n" in request
        and request.count(b"\n") <= request_head.HEADERS
    )
