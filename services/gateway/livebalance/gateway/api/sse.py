"""GET /api/v1/events: the frames of up to 16 accounts as server-sent events, for clients that only read.

A stream is a session like that of a WebSocket: `Connections` flushes its outbox into the transport, and
learns when the transport is not writable. Starlette's StreamingResponse and sse-starlette would pull frames
from an iterator and wait in `send` instead. Frames for a slow client would wait there, outside the outbox,
which must limit them. So ASGI sends only the start and the end of the response. Its chunks go straight to the
transport.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import StringConstraints
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from livebalance.gateway.api import openapi, problems
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.openapi import EVENT_ID_PATTERN, ID_PATTERN
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.sse_format import EventEncoder, encode_close
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.connections import Connections
from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.live.outbox import SessionEvent
from livebalance.gateway.live.session import Session
from livebalance.gateway.server.http import PROTOCOL_KEY, HttpProtocol
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.tcp import (
    ABNORMAL_CLOSURE,
    CLOSE_TIMEOUT_SECONDS,
    RestartableTimer,
    TransportTimeouts,
    WriteProgress,
    set_buffer_limits,
    unacknowledged_bytes,
)
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs
from livebalance.wire.close import CloseCode
from livebalance.wire.errors import DecodeError
from livebalance.wire.event_id import MAX_ACCOUNTS, Positions, decode_event_id
from livebalance.wire.frame import ChannelRequest, Subscribe, encode_frame, encode_position
from livebalance.wire.identity import AccountId, channel_name

PATH = "/api/v1/events"
RETRY_MS = (1000, 3000)  # the range for clients that lose the connection, or whose accounts could not be read

_UNAVAILABLE = SessionEvent("error", "unavailable")
_EXPECTED_ENDS = frozenset({"lost", "drain", "age", "stopping"})  # logged at level DEBUG
_MEDIA_TYPE = "text/event-stream"
_HEADERS = {
    "cache-control": "no-store",
    "connection": "close",
    "x-accel-buffering": "no",  # nginx would buffer events
}
_log = logs.get("sse")

Accounts = Annotated[
    list[Annotated[str, StringConstraints(pattern=ID_PATTERN)]], Query(min_length=1, max_length=MAX_ACCOUNTS)
]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", pattern=EVENT_ID_PATTERN)]


class StreamContext(NamedTuple):
    """What all streams of a gateway share."""

    connections: Connections
    timeouts: TransportTimeouts


class StreamRequest(NamedTuple):
    """The accounts that a client requests, and the positions to resume from."""

    rights: Rights
    accounts: Sequence[AccountId]
    positions: Positions  # only of the requested accounts


def routes(context: StreamContext, auth: RequestAuth) -> APIRouter:
    """Returns the route of the event stream. Its docstring is part of the OpenAPI document."""
    router = APIRouter(tags=["events"])

    @router.get(PATH, **openapi.event_stream_responses())
    async def events(
        request: Request,
        rights: Annotated[Rights, Depends(auth.rights_from_own_page)],
        account: Accounts,
        last_event_id: LastEventId = None,
    ) -> EventStream:
        """Streams the frames of up to 16 accounts. Each snapshot and delta has an id to resume from."""
        positions = _positions(last_event_id) if last_event_id is not None else {}
        accounts = [AccountId(account_id) for account_id in dict.fromkeys(account)]
        requested = {account: positions[account] for account in accounts if account in positions}
        return EventStream(context, StreamRequest(rights, accounts, requested))

    return router


def _positions(last_event_id: str) -> Positions:
    try:
        return decode_event_id(last_event_id)
    except DecodeError as error:
        detail = "Last-Event-ID is not an id of this stream; start again without it."
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_cursor", detail) from error


def refusal_response(refusal: Refusal, accept: str) -> Response:
    """Returns a problem, or a stream that ends at once: an EventSource does not retry after errors."""
    if _MEDIA_TYPE not in accept:
        return problems.refusal_response(refusal)
    wait_ms = int(refusal.headers["retry-after"]) * 1000
    end = encode_close(CloseCode.BUSY, "busy", random.randint(wait_ms, 2 * wait_ms))
    return Response(end, headers=_HEADERS, media_type=_MEDIA_TYPE)


class EventStream(StreamingResponse):
    """The response to a request. `Connections` flushes and closes it like a WebSocketConnection."""

    def __init__(self, context: StreamContext, request: StreamRequest) -> None:
        super().__init__((), headers=_HEADERS, media_type=_MEDIA_TYPE)
        self._connections, self._timeouts = context
        self._request = request
        self._encoder = EventEncoder(request.positions)
        self._http: HttpProtocol
        self._address: Address = ""
        self._session: Session | None = None
        self._subscribed = False
        self._writable = True
        self._progress = WriteProgress(time.monotonic())
        self._timer = RestartableTimer()  # for closing
        self._ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Called by the ASGI server. Returns when the stream has ended."""
        self._http = scope["state"][PROTOCOL_KEY]
        self._address = self._http.places.client_address
        if refusal := self._http.places.open_session():
            metrics.REJECTED.labels(refusal.reason).inc()
            accept = Headers(scope=scope).get("accept", "")
            await refusal_response(refusal, accept)(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self._start()
            await self._ended.wait()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._record_end(ABNORMAL_CLOSURE, "lost")
            self._http.places.close_session()

    def _start(self) -> None:
        self._http.set_long_response(self)
        if self._http.transport.is_closing():  # `connection_lost` may have been called before
            self._ended.set()
            return
        self._write(b"retry: %d\n" % random.randint(*RETRY_MS))  # replaces that of the last close
        session = self._session = self._connections.connect(token_urlsafe(9), self._address, self)
        metrics.STREAMS.inc()
        set_buffer_limits(self._http.transport, self._timeouts)
        self._connections.authorize(session, self._request.rights)
        if self._session:  # the stream was not closed at once
            self._subscribed = True
            channels = [self._channel_request(account) for account in self._request.accounts]
            self._connections.receive(session, encode_frame(Subscribe(0, channels)))

    def _channel_request(self, account: AccountId) -> ChannelRequest:
        position = self._request.positions.get(account)
        return ChannelRequest(channel_name(account), None if position is None else encode_position(position))

    # --- the connection

    def set_writable(self, writable: bool) -> None:
        """Called when the transport's buffer is full, and when there is room again."""
        self._writable = writable
        if self._session:
            self._connections.set_writable(self._session, writable)

    def connection_lost(self) -> None:
        """Called when the connection is closed."""
        self._record_end(ABNORMAL_CLOSURE, "lost")

    def shutdown(self) -> None:
        """Called when the server is about to stop."""
        self.close(CloseCode.GOING_AWAY, "stopping", None)

    # --- frames out

    def flush(self, now: float) -> int:
        """Writes the frames of the outbox that are due, if the transport is writable. Returns their bytes."""
        session = self._session
        if session is None:
            return 0
        self._close_if_incomplete(session)
        sent = 0
        while self._writable and (frames := session.outbox.pop(now)):
            events = self._encoder.encode(frames)
            self._write(events)
            sent += len(events)
        return sent

    def _close_if_incomplete(self, session: Session) -> None:
        """Closes a stream that lacks an account, or has none left: its client cannot subscribe again."""
        loop = asyncio.get_running_loop()
        if _UNAVAILABLE in session.outbox.events:
            loop.call_soon(self.close, CloseCode.BUSY, "busy", random.randint(*RETRY_MS))
        elif self._subscribed and not session.subscriptions:
            loop.call_soon(self.close, CloseCode.REVOKED, "nothing_left", None)

    def _write(self, events: bytes) -> None:
        if events and not self._http.transport.is_closing():
            chunk = b"%x\r\n%b\r\n" % (len(events), events)  # RFC 9112 §7.1
            self._progress.written += len(chunk)
            self._http.transport.write(chunk)

    # --- the end

    def close(self, code: CloseCode, word: str, retry_after_ms: int | None) -> None:
        """Writes what is due, then the event `close` (docs/errors.md#close-codes)."""
        if self._session:
            self._connections.flush([self._session])
            self._write(encode_close(code, word, retry_after_ms))
            self._record_end(code, word)
            self._timer.start(CLOSE_TIMEOUT_SECONDS, self._http.transport.abort)

    def _record_end(self, code: int, word: str) -> None:
        """Ends the session, counts the end and logs it. Only the first call does."""
        session, self._session = self._session, None
        self._timer.cancel()
        self._ended.set()
        if session is None:
            return
        metrics.STREAMS.dec()
        metrics.count_closed(code, word)
        log = _log.debug if word in _EXPECTED_ENDS else _log.info
        log("connection closed", code=int(code), reason=word, session=session.name, address=self._address)
        self._connections.disconnect(session)

    def check(self) -> float | None:
        """Aborts a connection whose client acknowledges nothing. Heartbeats ensure that bytes wait for it."""
        now, waiting = time.monotonic(), unacknowledged_bytes(self._http.transport)
        quiet = self._progress.seconds_without(now, waiting, alive=not waiting)
        if quiet >= self._timeouts.write_timeout:
            self._record_end(ABNORMAL_CLOSURE, "no_progress")
            self._http.transport.abort()
            return None
        return self._timeouts.ping_interval

    def send_ping(self) -> None:
        """Does nothing: a stream has no pings."""
