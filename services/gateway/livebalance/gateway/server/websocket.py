"""The one file that touches a WebSocket: the handshake, frames in, frames out, and when to give up.

A class for uvicorn's `ws` setting that starts no ASGI task: a session costs a few KiB, and a frame goes
straight to the transport. While a client does not take bytes, nothing is read from it either.
"""

import asyncio
import time
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any, Protocol, cast

from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN

from livebalance.gateway.limits.connections import Address
from livebalance.gateway.limits.rate import RateLimiter
from livebalance.gateway.live.session import Session
from livebalance.gateway.server import handshake
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.gateway.server.handshake import Handshake
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.tcp import (
    TransportTimeouts,
    set_buffer_limits,
    is_unreachable,
    unacknowledged_bytes,
)
from livebalance.gateway.server.websocket_protocol import WebSocketProtocol
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs
from livebalance.wire.close import CloseCode, encode_reason

CLOSE_WITHIN = 5.0  # seconds for the other side to close in turn
FRAGMENTS = 64  # of one message
CONTROLS, CONTROLS_AT_ONCE = 2.0, 20  # pings and pongs a client may send: a second, and in a burst
BROKEN = 1006  # RFC 6455: it ended without a close

_log = logs.get("socket")
_USUAL = frozenset({"client", "lost", "drain", "age", "stopping"})  # ends that nobody need look at


class RelayInterface(Protocol):
    """What a socket needs of the gateway behind it."""

    def admit(self, address: Address) -> Refusal | None: ...
    def release(self, address: Address) -> None: ...
    def connect(self, name: str, address: Address, link: Any) -> Session: ...
    def authenticate(self, session: Session, token: str) -> None: ...
    def disconnect(self, session: Session) -> None: ...
    def handle_message(self, session: Session, text: bytes) -> None: ...
    def perform(self) -> None: ...
    def set_writable(self, session: Session, writable: bool) -> None: ...


class WebSocketConnection(asyncio.Protocol):
    __slots__ = (
        "_address",
        "_admitted",
        "_assembling",
        "_connections",
        "_controls",
        "_delivered",
        "_encoder",
        "_entrance",
        "_fragments",
        "_relay",
        "_heard",
        "_open",
        "_patience",
        "_protocol",
        "_quiet_since",
        "_refused",
        "_session",
        "_timer",
        "_unanswered",
        "_waited",
        "_writable",
        "_written",
        "transport",
    )

    def __init__(
        self,
        relay: RelayInterface,
        entrance: Handshake,
        patience: TransportTimeouts,
        state: ServerState,
        encoder: FrameEncoder,
    ) -> None:
        self._relay = relay
        self._encoder = encoder
        self._entrance = entrance
        self._address: Address = ""  # known from the handshake on
        self._admitted = False
        self._patience = patience
        self._connections: set[Any] = state.connections
        self._protocol = WebSocketProtocol()
        self._session: Session | None = None
        self._open = False  # it was greeted, and how it ended was not told yet
        self._refused = False
        self._controls = RateLimiter(CONTROLS, CONTROLS_AT_ONCE)
        self._assembling: asyncio.TimerHandle | None = None  # runs while a message or a frame is incomplete
        self.transport: asyncio.Transport
        self._fragments: list[bytes] = []
        self._writable = True
        self._written = 0  # bytes, ever
        self._delivered = 0  # of them, those that had left this machine at the last check
        self._heard = True  # anything, since the last check
        self._unanswered = False  # texts of this read
        self._waited = False  # something waited to leave at the last check
        self._quiet_since = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._connections.add(self)
        set_buffer_limits(self.transport, self._patience)
        self._wait(self._patience.ping_interval, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._timer:
            self._timer.cancel()
        self._ended(BROKEN, "lost")
        if self._admitted:
            self._relay.release(self._address)

    def eof_received(self) -> bool:
        self._ended(BROKEN, "lost")
        return False  # the transport closes

    def pause_writing(self) -> None:
        self._writable = False
        if self._session:
            self._relay.set_writable(self._session, False)
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable = True
        if not self.transport.is_closing():
            self.transport.resume_reading()
        if self._session:
            self._relay.set_writable(self._session, True)

    def shutdown(self) -> None:
        """uvicorn is about to stop."""
        if self._session:
            self.close(CloseCode.GOING_AWAY, "stopping", None)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._refused:
            return
        try:
            self._receive(data)
        except Exception:
            # What one client sent must not end the others. The log has the traceback, the client its name.
            id_ = token_urlsafe(6)
            _log.exception("a client met a bug", error_id=id_)
            self._protocol.fail(CloseCode.INTERNAL, encode_reason("internal", error_id=id_))
            self._ended(CloseCode.INTERNAL, "internal", told=True)
        self._write_protocol()

    def _receive(self, data: bytes) -> None:
        protocol, whole = self._protocol, False
        protocol.receive_data(data)
        events = protocol.events_received()
        if protocol.state is OPEN:
            self._write_protocol()  # a pong goes before what answers a later frame
        for event in events:
            if isinstance(event, Request):
                self._shake_hands(event)
            elif isinstance(event, Frame) and self._session:
                whole |= self._frame(self._session, event)
        self._answer()
        if self._open and (failed := protocol.failed):
            self._ended(*failed)
        elif protocol.handshake_exc and not self._session and not self._refused:
            self._refuse(handshake.BAD_HANDSHAKE)
        self._watch_assembly(whole or (bool(events) and not self._fragments))

    # --- the handshake

    def _shake_hands(self, request: Request) -> None:
        peer = _peer(self.transport)
        self._address = self._entrance.client_address(request, peer)
        if refused := self._entrance.refusal(request, peer) or self._relay.admit(self._address):
            self._refuse(refused)
            return
        self._admitted = True
        response = self._protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._refuse(handshake.BAD_HANDSHAKE)
            return
        self._protocol.send_response(response)
        self._write_protocol()
        self._open = True
        if self._protocol.is_retired:
            self._fail(CloseCode.OLD_VERSION, "old_version")
            return
        session = self._session = self._relay.connect(token_urlsafe(9), self._address, self)
        if token := self._entrance.token(request):
            self._relay.authenticate(session, token)

    def _refuse(self, refusal: Refusal) -> None:
        self._refused = True
        metrics.REJECTED.labels(refusal.reason).inc()
        _log.info("refused", reason=refusal.reason, status=refusal.status.value, address=self._address)
        self._write(refusal.response())
        if not self.transport.is_closing():
            self.transport.write_eof()
        self._wait(CLOSE_WITHIN, self.transport.abort)

    # --- frames in

    def _frame(self, session: Session, frame: Frame) -> bool:
        """Whether a message was complete."""
        if frame.opcode is Opcode.CLOSE:
            self._closed_by_client()
        elif frame.opcode in (Opcode.PING, Opcode.PONG):
            if self._controls.take(time.monotonic()):
                self._fail(CloseCode.POLICY, "controls")
        elif frame.opcode is Opcode.BINARY:
            self._fail(CloseCode.UNSUPPORTED, "binary")
        else:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                text, self._fragments = b"".join(self._fragments), []
                self._text(session, text)
                return True
            if len(self._fragments) >= FRAGMENTS:
                self._fail(CloseCode.POLICY, "fragments")
        return False

    def _text(self, session: Session, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            self._fail(CloseCode.BAD_TEXT, "bad_text")
        else:
            self._unanswered = True
            self._relay.handle_message(session, text)

    def _answer(self) -> None:
        """All that was said in one read, in one write."""
        if self._unanswered:
            self._unanswered = False
            self._relay.perform()

    def _closed_by_client(self) -> None:
        self._answer()
        received = self._protocol.close_rcvd
        self._ended(received.code if received else BROKEN, "client")

    def _watch_assembly(self, anew: bool) -> None:
        """A message, or a frame of one, that began and has not ended: it has some seconds in all.

        A frame is incomplete if bytes wait for more of them, or if what came just now completed none.
        """
        if self._assembling and anew:
            self._assembling.cancel()
            self._assembling = None
        if self._open and not self._assembling and self._is_incomplete(anew):
            loop = asyncio.get_running_loop()
            self._assembling = loop.call_later(self._patience.message_timeout, self._too_slow)

    def _is_incomplete(self, anew: bool) -> bool:
        return not anew or bool(self._fragments) or bool(self._protocol.reader.buffer)

    def _too_slow(self) -> None:
        self._fail(CloseCode.POLICY, "assembly")
        self._write_protocol()

    # --- frames out

    def flush(self, now: float) -> int:
        """Writes what is due to this client, at once; returns how many bytes. Nothing while it takes none."""
        if self._session is None or not self._writable:
            return 0
        frames = self._session.outbox.pop(now)
        if not frames:
            return 0
        data = self._encoder.encode(frames)
        self._write(data)
        return len(data)

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():  # uvloop raises on a closed one
            self._written += len(data)
            self.transport.write(data)

    def _write_protocol(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._write(data)
            elif not self.transport.is_closing():  # nothing more from us
                self._leave()
                self.transport.write_eof()
                self._wait(CLOSE_WITHIN, self.transport.abort)

    # --- the end

    def close(self, code: CloseCode, word: str, retry_after_ms: int | None) -> None:
        self.flush(time.monotonic())
        self._ended(code, word)
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, encode_reason(word, retry_after_ms))
            self._write_protocol()
            self._wait(CLOSE_WITHIN, self.transport.abort)

    def _fail(self, code: CloseCode, word: str) -> None:
        self._answer()
        self._ended(code, word)
        self._protocol.fail(code, encode_reason(word))

    def _cut(self, word: str) -> None:
        self._ended(BROKEN, word)
        self.transport.abort()

    def _ended(self, code: int, word: str, told: bool = False) -> None:
        """However it ends, it is counted and told once, and its session leaves."""
        session = self._session
        if self._assembling:
            self._assembling.cancel()
            self._assembling = None
        self._leave()
        if not self._open:
            return
        self._open = False
        metrics.count_closed(code, word)
        if not told:
            log = _log.debug if word in _USUAL else _log.info
            log(
                "closed", code=int(code), reason=word, session=session and session.name, address=self._address
            )

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session:
            self._relay.disconnect(session)

    # --- silence

    def _wait(self, seconds: float, then: Any) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _check(self) -> None:
        """Who answers no ping is gone. Who is sent more than it takes may answer late: progress is enough."""
        now, waits = time.monotonic(), unacknowledged_bytes(self.transport)
        delivered = self._written - waits
        if self._heard or delivered > self._delivered:
            self._quiet_since = now
        quiet = now - self._quiet_since
        if not self._heard and (not self._waited or is_unreachable(self.transport, self._patience, quiet)):
            self._cut("silent")
            return
        if quiet >= self._patience.write_timeout:
            self._cut("no_progress")
            return
        self._delivered, self._waited, self._heard = delivered, waits > 0, False
        if not waits and self._protocol.state is OPEN:
            self._protocol.send_ping(b"")
            self._write_protocol()
        self._wait(self._patience.ping_interval, self._check)


def _peer(transport: asyncio.Transport) -> Address:
    peer: Address = transport.get_extra_info("peername")[0]
    return peer
