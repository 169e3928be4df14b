"""/api/v1/events: what the socket says of some accounts, as server-sent events, to who can only read.

A stream is a session like any other: the relay flushes its outbox into the transport as it does for a socket,
and is told when the transport takes no more. Starlette's StreamingResponse and sse-starlette pull from an
iterator and wait in `send`: what a slow reader is not sent would wait there, unseen by the outbox that has to
bound it. So ASGI begins and ends the answer here; between, its chunks are written past it.
"""

import asyncio
import random
import time
from collections.abc import Container, Sequence
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import StringConstraints
from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from livebalance.gateway.api import openapi, problems
from livebalance.gateway.api.auth import RequestAuth
from livebalance.gateway.api.openapi import EVENT_ID_PATTERN, ID_PATTERN
from livebalance.gateway.api.problems import ProblemError
from livebalance.gateway.api.sse_format import EventEncoder, end
from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.limits.connections import Address, client_address
from livebalance.gateway.live.outbox import SessionEvent
from livebalance.gateway.live.session import Session
from livebalance.gateway.relay import Relay
from livebalance.gateway.server.http import PROTOCOL_KEY, HttpProtocol
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.tcp import TransportTimeouts, set_buffer_limits, unacknowledged_bytes
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs
from livebalance.wire.close import CloseCode
from livebalance.wire.errors import DecodeError
from livebalance.wire.event_id import MAX_ACCOUNTS, Positions, decode_event_id
from livebalance.wire.frame import ChannelRequest, Subscribe, encode_frame, encode_position
from livebalance.wire.identity import AccountId, channel_name

CLOSE_WITHIN = 5.0  # seconds in which what was written last must leave
RETRY_MS = (1000, 3000)
BROKEN = 1006  # as of a socket: it ended without a close

_UNAVAILABLE = SessionEvent("error", "unavailable")
_USUAL = frozenset({"lost", "drain", "age", "stopping"})  # ends that nobody need look at
_TYPE = "text/event-stream"
_HEADERS = {
    "cache-control": "no-store",
    "connection": "close",
    "x-accel-buffering": "no",  # nginx would gather events
}
_log = logs.get("stream")

Accounts = Annotated[
    list[Annotated[str, StringConstraints(pattern=ID_PATTERN)]], Query(min_length=1, max_length=MAX_ACCOUNTS)
]
Mark = Annotated[str | None, Header(alias="Last-Event-ID", pattern=EVENT_ID_PATTERN)]


class StreamContext(NamedTuple):
    """What all streams of a gateway share."""

    relay: Relay
    patience: TransportTimeouts
    proxies: Container[Address]


class StreamRequest(NamedTuple):
    """By whom, and which accounts from where."""

    rights: Rights
    accounts: Sequence[AccountId]
    at: Positions


def routes(hall: StreamContext, guard: RequestAuth) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["events"])

    @router.get("/events", **openapi.event_stream_responses())
    async def events(
        request: Request,
        who: Annotated[Rights, Depends(guard.rights_from_own_page)],
        account: Accounts,
        last_event_id: Mark = None,
    ) -> EventStream:
        """The frames of the socket, for up to 16 accounts; each event with data has an id to resume from."""
        at = _resumed(last_event_id) if last_event_id is not None else {}
        accounts = [AccountId(one) for one in dict.fromkeys(account)]
        return EventStream(
            hall, StreamRequest(who, accounts, {one: at[one] for one in accounts if one in at})
        )

    return router


def _resumed(mark: str) -> Positions:
    try:
        return decode_event_id(mark)
    except DecodeError as cause:
        words = "Last-Event-ID is none of ours"
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_cursor", words) from cause


def _refused(refusal: Refusal, accept: str) -> Response:
    """A browser's EventSource comes back from a stream that ended, and from no other answer."""
    if _TYPE not in accept:
        return problems.refusal_response(refusal)
    wait = int(refusal.headers["retry-after"]) * 1000
    return Response(
        end(CloseCode.BUSY, "busy", random.randint(wait, 2 * wait)), headers=_HEADERS, media_type=_TYPE
    )


class EventStream(StreamingResponse):
    """The answer to one request, and the link of its session."""

    def __init__(self, hall: StreamContext, wanted: StreamRequest) -> None:
        super().__init__((), headers=_HEADERS, media_type=_TYPE)
        self._relay, self._patience, self._proxies = hall
        self._wanted = wanted
        self._story = EventEncoder(wanted.at)
        self._door: HttpProtocol
        self._address: Address = ""
        self._session: Session | None = None
        self._asked = False  # it follows what it may
        self._writable = True
        self._written = 0  # bytes, ever
        self._delivered = 0  # of them, those that had left this machine at the last check
        self._quiet_since = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._door = scope["state"][PROTOCOL_KEY]
        headers = Headers(scope=scope)
        forwarded = ",".join(headers.getlist("x-forwarded-for"))
        self._address = client_address(self._door.peer, forwarded, self._proxies)
        if refusal := self._relay.admit(self._address):
            metrics.REJECTED.labels(refusal.reason).inc()
            await _refused(refusal, headers.get("accept", ""))(scope, receive, send)
            return
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            self._begin()
            await self._over.wait()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._ended(BROKEN, "lost")
            self._relay.release(self._address)

    def _begin(self) -> None:
        self._door.set_long_response(self)
        if self._door.transport.is_closing():  # it may be gone already, and nobody would tell
            self._over.set()
            return
        relay, wanted = self._relay, self._wanted
        session = self._session = relay.connect(token_urlsafe(9), self._address, self)
        metrics.STREAMS.inc()
        set_buffer_limits(self._door.transport, self._patience)
        self._wait(self._patience.ping_interval, self._check)
        relay.authorize(session, wanted.rights)
        if self._session:
            self._asked = True
            following = [
                ChannelRequest(
                    channel_name(one), encode_position(wanted.at[one]) if one in wanted.at else None
                )
                for one in wanted.accounts
            ]
            relay.receive(session, encode_frame(Subscribe(0, following)))

    # --- the connection

    def set_writable(self, writable: bool) -> None:
        self._writable = writable
        if self._session:
            self._relay.set_writable(self._session, writable)

    def connection_lost(self) -> None:
        self._ended(BROKEN, "lost")

    def shutdown(self) -> None:
        self.close(CloseCode.GOING_AWAY, "stopping", None)

    # --- frames out

    def flush(self, now: float) -> int:
        """As a socket: writes what is due, at once; returns how many bytes. Nothing while it takes none."""
        session = self._session
        if session is None:
            return 0
        self._look(session)
        if not self._writable:
            return 0
        events = self._story.events(session.outbox.pop(now))
        self._write(events)
        return len(events)

    def _look(self, session: Session) -> None:
        """It cannot ask again by itself, nor for others: without what it wanted it is over."""
        loop = asyncio.get_running_loop()
        if _UNAVAILABLE in session.outbox.notes:
            loop.call_soon(self.close, CloseCode.BUSY, "busy", random.randint(*RETRY_MS))
        elif self._asked and not session.followers:
            loop.call_soon(self.close, CloseCode.REVOKED, "nothing_left", None)

    def _write(self, events: bytes) -> None:
        if events and not self._door.transport.is_closing():
            chunk = b"%x\r\n%b\r\n" % (len(events), events)
            self._written += len(chunk)
            self._door.transport.write(chunk)

    # --- the end

    def close(self, code: CloseCode, word: str, retry_after_ms: int | None) -> None:
        if self._session:
            self.flush(time.monotonic())
            self._write(end(code, word, retry_after_ms))
            self._ended(code, word)
            self._wait(CLOSE_WITHIN, self._door.transport.abort)

    def _ended(self, code: int, word: str) -> None:
        """However it ends, it is counted and told once, and its session leaves."""
        session, self._session = self._session, None
        if self._timer:
            self._timer.cancel()
        self._over.set()
        if session is None:
            return
        metrics.STREAMS.dec()
        metrics.count_closed(code, word)
        log = _log.debug if word in _USUAL else _log.info
        log("closed", code=int(code), reason=word, session=session.name, address=self._address)
        self._relay.disconnect(session)

    def _wait(self, seconds: float, then: Any) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _check(self) -> None:
        """Who takes nothing of what waits is gone; heartbeats see to it that something does."""
        now, waits = time.monotonic(), unacknowledged_bytes(self._door.transport)
        delivered = self._written - waits
        if not waits or delivered > self._delivered:
            self._quiet_since = now
        elif now - self._quiet_since >= self._patience.write_timeout:
            self._ended(BROKEN, "no_progress")
            self._door.transport.abort()
            return
        self._delivered = delivered
        self._wait(self._patience.ping_interval, self._check)
