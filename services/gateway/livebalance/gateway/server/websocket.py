"""A WebSocket connection: handshake, frames in and out, pings and timeouts.

The class is for uvicorn's `ws` setting. It starts no ASGI task, so that a session costs a few KiB, and frames
go straight to the transport. While the transport is not writable, nothing is read from the client either.
"""

import asyncio
import time
from http import HTTPStatus
from secrets import token_urlsafe
from typing import Any, cast

from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import CONNECTING, OPEN

from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.limits.rate import RateLimiter
from livebalance.gateway.live.session import Session
from livebalance.gateway.server import handshake
from livebalance.gateway.server.connection_owner import ConnectionOwner
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.gateway.server.handshake import Handshake, head_of
from livebalance.gateway.server.plain_frames import read_plain_frame
from livebalance.gateway.server.plain_handshake import accept_plain_handshake
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.request_head import RequestHead
from livebalance.gateway.server.tcp import (
    ABNORMAL_CLOSURE,
    CLOSE_TIMEOUT_SECONDS,
    RestartableTimer,
    TransportTimeouts,
    WriteProgress,
    is_unreachable,
    set_buffer_limits,
    unacknowledged_bytes,
)
from livebalance.gateway.server.websocket_protocol import WebSocketProtocol
from livebalance.gateway.telemetry import metrics
from livebalance.runtime import logs
from livebalance.wire.close import CloseCode, encode_reason

MAX_FRAGMENTS = 64  # per message
CONTROL_FRAME_RATE, CONTROL_FRAME_BURST = 2.0, 20  # pings and pongs of a client: per second, and at once

_PING = b"\x89\x00"  # an empty ping (RFC 6455 §5.5.2)

_log = logs.get("websocket")
_EXPECTED_ENDS = frozenset({"client", "lost", "drain", "age", "stopping"})  # logged at level DEBUG


class WebSocketConnection(asyncio.Protocol):
    """One connection. The log and the metrics get its end once, whatever ends it."""

    __slots__ = (
        "_accepted",
        "_address",
        "_admitted",
        "_bytes_waited",
        "_connections",
        "_control_frames",
        "_encoder",
        "_fragments",
        "_handshake",
        "_held",
        "_is_overdue",
        "_message_timer",
        "_must_perform",
        "_open",
        "_owner",
        "_peer",
        "_ping",
        "_progress",
        "_protocol",
        "_received",
        "_rejected",
        "_session",
        "_timeouts",
        "_timer",
        "_writable",
        "transport",
    )

    def __init__(
        self,
        owner: ConnectionOwner,
        handshake: Handshake,
        timeouts: TransportTimeouts,
        state: ServerState,
        encoder: FrameEncoder,
        *,
        peer: Address,
    ) -> None:
        """`peer` is the other end of the connection: the client, which holds a place already, or a proxy."""
        self._owner = owner
        self._encoder = encoder
        self._handshake = handshake
        self._peer = self._address = (
            peer  # if the peer is a proxy, the client's address comes with the handshake
        )
        self._held = peer not in handshake.rules.trusted_proxies  # a place of the address, in `Admission`
        self._admitted = False  # as a session
        self._timeouts = timeouts
        self._connections: set[Any] = state.connections
        # None while the connection has seen only what is plain: handshake and frames.
        self._protocol: WebSocketProtocol | None = None
        self._session: Session | None = None
        self._accepted = False  # the handshake succeeded
        self._open = False  # accepted, and the end is not recorded yet
        self._rejected = False
        self._control_frames = RateLimiter(CONTROL_FRAME_RATE, CONTROL_FRAME_BURST)
        self._message_timer = RestartableTimer()  # runs while a message or a frame is incomplete
        self.transport: asyncio.Transport
        self._fragments: list[bytes] = []
        self._writable = True
        self._progress = WriteProgress(time.monotonic())
        self._received = True  # any bytes since the last check
        self._is_overdue = False  # the client has not answered within its interval
        self._must_perform = False  # messages of the current read were handled
        self._ping = b""  # that is due
        self._bytes_waited = False  # at the last check, the client had not acknowledged all bytes
        self._timer = RestartableTimer()  # for closing

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the HTTP protocol when a whole handshake has arrived."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit from it
        self._connections.add(self)
        set_buffer_limits(self.transport, self._timeouts)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio when the connection is closed."""
        self._connections.discard(self)
        self._timer.cancel()
        self._record_end(ABNORMAL_CLOSURE, "lost")
        if self._admitted:
            self._owner.admission.close()
        if self._held:
            self._owner.admission.release(self._address)

    def eof_received(self) -> bool:
        """Called by asyncio when the client sends no more."""
        self._record_end(ABNORMAL_CLOSURE, "lost")
        return False  # the transport closes

    def pause_writing(self) -> None:
        """Called by asyncio when the transport's buffer is full."""
        self._writable = False
        if self._session:
            self._owner.set_writable(self._session, False)
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by asyncio when the transport's buffer has room again."""
        self._writable = True
        if not self.transport.is_closing():
            self.transport.resume_reading()
        if self._session:
            self._owner.set_writable(self._session, True)

    def shutdown(self) -> None:
        """Called by uvicorn when it is about to stop."""
        if self._session:
            self.close(CloseCode.GOING_AWAY, "stopping", None)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio when bytes have arrived."""
        self._received = True
        if self._rejected:
            return
        try:
            self._receive(data)
        except Exception:
            # A bug met by a client must not end the others. The log has the traceback, the client its id.
            error_id = token_urlsafe(6)
            _log.exception("message handler failed", error_id=error_id)
            self._library().fail(CloseCode.INTERNAL, encode_reason("internal", error_id=error_id))
            self._record_end(CloseCode.INTERNAL, "internal", log=False)
        self._flush_protocol()

    def _receive(self, data: bytes) -> None:
        if self._protocol is None and not (data := self._receive_plain(data)):
            self._perform()
            return
        protocol, message_completed = self._library(), False
        protocol.receive_data(data)
        events = protocol.events_received()
        if protocol.state is OPEN:
            self._flush_protocol()  # a pong must leave before the answers to later frames
        for event in events:
            if isinstance(event, Request):
                self._handle_handshake(protocol, event)
            elif isinstance(event, Frame) and self._session:
                message_completed |= self._handle_frame(self._session, event)
        self._perform()
        if self._open and (failure := protocol.failure):
            self._record_end(*failure)
        elif protocol.handshake_exc and not self._session and not self._rejected:
            self._reject(handshake.BAD_HANDSHAKE)
        self._watch_message(message_completed or (bool(events) and not self._fragments))

    def _receive_plain(self, data: bytes) -> bytes:
        """Handles the plain frames that the data begins with. Returns the rest."""
        position = 0
        while self._protocol is None and self._session and (frame := read_plain_frame(data, position)):
            position = frame.end
            if frame.text is None:
                self._count_control_frame()
            else:
                self._handle_text(self._session, frame.text)
        return data[position:]

    def _library(self) -> WebSocketProtocol:
        """Returns the protocol by `websockets`, which a plain connection does not have."""
        if self._protocol is None:
            self._protocol = WebSocketProtocol(OPEN if self._accepted else CONNECTING)
        return self._protocol

    @property
    def _is_open(self) -> bool:
        return self._protocol is None or self._protocol.state is OPEN

    # --- the handshake

    def open(self, head: RequestHead) -> None:
        """Called by the HTTP protocol instead of `data_received` if the handshake is plain."""
        if refusal := self._refusal(head):
            self._reject(refusal)
        else:
            self._write(accept_plain_handshake(head))
            self._begin_session(head)

    def _handle_handshake(self, protocol: WebSocketProtocol, request: Request) -> None:
        head = head_of(request, self._peer)
        if refusal := self._refusal(head):
            self._reject(refusal)
            return
        response = protocol.accept(request)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._reject(handshake.BAD_HANDSHAKE)
            return
        protocol.send_response(response)
        self._flush_protocol()
        if protocol.is_retired:
            self._accepted = self._open = True
            self._fail(CloseCode.OLD_VERSION, "old_version")
        else:
            self._begin_session(head)

    def _begin_session(self, head: RequestHead) -> None:
        self._accepted = self._open = True
        session = self._session = self._owner.connect(token_urlsafe(9), self._address, self)
        if token := self._handshake.token(head):
            self._owner.authenticate(session, token)

    def _refusal(self, head: RequestHead) -> Refusal | None:
        self._address = self._handshake.client_address(head)
        return self._handshake.refusal(head) or self._admit()

    def _admit(self) -> Refusal | None:
        admission, through_proxy = self._owner.admission, not self._held
        if through_proxy:
            if refusal := admission.hold(self._address):
                return refusal
            self._held = True
        refusal = admission.open(self._address, through_proxy=through_proxy)
        self._admitted = refusal is None
        return refusal

    def _reject(self, refusal: Refusal) -> None:
        self._rejected = True
        metrics.REJECTED.labels(refusal.reason).inc()
        _log.info(
            "request rejected", reason=refusal.reason, status=refusal.status.value, address=self._address
        )
        self._write(refusal.response())
        if not self.transport.is_closing():
            self.transport.write_eof()
        self._timer.start(CLOSE_TIMEOUT_SECONDS, self.transport.abort)

    # --- frames in

    def _handle_frame(self, session: Session, frame: Frame) -> bool:
        """Handles a frame. Returns whether a message is complete."""
        if frame.opcode is Opcode.CLOSE:
            self._handle_close()
        elif frame.opcode in (Opcode.PING, Opcode.PONG):
            self._count_control_frame()
        elif frame.opcode is Opcode.BINARY:
            self._fail(CloseCode.UNSUPPORTED, "binary")
        else:
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                text, self._fragments = b"".join(self._fragments), []
                self._handle_text(session, text)
                return True
            if len(self._fragments) >= MAX_FRAGMENTS:
                self._fail(CloseCode.POLICY, "fragments")
        return False

    def _count_control_frame(self) -> None:
        if self._control_frames.try_acquire(time.monotonic()):
            self._fail(CloseCode.POLICY, "controls")

    def _handle_text(self, session: Session, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            self._fail(CloseCode.BAD_TEXT, "bad_text")
        else:
            self._must_perform = True
            self._owner.handle_message(session, text)

    def _perform(self) -> None:
        """Performs the effects of all messages of a read, so that the answers leave in a single write."""
        if self._must_perform:
            self._must_perform = False
            self._owner.perform()

    def _handle_close(self) -> None:
        self._perform()
        received = self._library().close_rcvd
        self._record_end(received.code if received else ABNORMAL_CLOSURE, "client")

    def _watch_message(self, completed: bool) -> None:
        """Runs the timer while a message or a frame is incomplete.

        `completed`: this read has completed a message, or a frame between messages. Parts do not restart the
        timer, which is for the whole message. A frame is incomplete if the parser has bytes left, or if this
        read has completed no frame.
        """
        if completed:
            self._message_timer.cancel()
        if self._open and not self._message_timer.is_running and self._is_incomplete(completed):
            self._message_timer.start(self._timeouts.message_timeout, self._fail_slow_message)

    def _is_incomplete(self, completed: bool) -> bool:
        return not completed or bool(self._fragments) or bool(self._library().reader.buffer)

    def _fail_slow_message(self) -> None:
        self._fail(CloseCode.POLICY, "assembly")
        self._flush_protocol()

    # --- frames out

    def flush(self, now: float) -> int:
        """Writes the frames of the outbox that are due, if the transport is writable. Returns their bytes."""
        if self._session is None:
            return 0
        outbox, sent = self._session.outbox, 0
        while self._writable and (frames := outbox.pop(now)):
            data = self._encoder.encode(frames)
            if self._ping:
                data, self._ping = self._ping + data, b""
            self._write(data)
            sent += len(data)
            if outbox.is_empty:
                break
        return sent

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():  # uvloop raises if it is
            self._progress.written += len(data)
            self.transport.write(data)

    def _flush_protocol(self) -> None:
        for data in self._protocol.data_to_send() if self._protocol else ():
            if data:
                self._write(data)
            elif not self.transport.is_closing():  # the protocol has nothing more to send
                self._end_session()
                self.transport.write_eof()
                self._timer.start(CLOSE_TIMEOUT_SECONDS, self.transport.abort)

    # --- the end

    def close(self, code: CloseCode, word: str, retry_after_ms: int | None) -> None:
        """Writes what is due, then closes with `code` and a reason (docs/errors.md#close-codes)."""
        if self._session:
            self._owner.flush([self._session])
        self._record_end(code, word)
        if self._is_open:
            self._library().send_close(code, encode_reason(word, retry_after_ms))
            self._flush_protocol()
            self._timer.start(CLOSE_TIMEOUT_SECONDS, self.transport.abort)

    def _fail(self, code: CloseCode, word: str) -> None:
        self._perform()
        self._record_end(code, word)
        self._library().fail(code, encode_reason(word))

    def _abort(self, word: str) -> None:
        self._record_end(ABNORMAL_CLOSURE, word)
        self.transport.abort()

    def _record_end(self, code: int, word: str, *, log: bool = True) -> None:
        """Ends the session. The first call also counts and logs how the connection ended."""
        session = self._session
        self._message_timer.cancel()
        self._end_session()
        if not self._open:
            return
        self._open = False
        metrics.count_closed(code, word)
        if log:
            write_log = _log.debug if word in _EXPECTED_ENDS else _log.info
            write_log(
                "connection closed",
                code=int(code),
                reason=word,
                session=session and session.name,
                address=self._address,
            )

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session:
            self._owner.disconnect(session)

    # --- pings

    def check(self) -> float | None:
        """Aborts a dead connection, or lets the next ping be sent. Called once per ping interval.

        The client must send something, at least a pong, in every interval. If bytes waited at the last check,
        no ping was sent: then it is enough that the client's system answers, until the write timeout.
        A silent client gets another second: an event loop that is late has not read its answer yet.
        """
        now, waiting = time.monotonic(), unacknowledged_bytes(self.transport)
        quiet = self._progress.seconds_without(now, waiting, alive=self._received)
        if not self._received and (
            not self._bytes_waited or is_unreachable(self.transport, self._timeouts, quiet)
        ):
            if self._is_overdue:
                self._abort("silent")
                return None
            self._is_overdue = True
            return min(self._timeouts.ping_interval / 4, 1.0)
        self._is_overdue = False
        if quiet >= self._timeouts.write_timeout:
            self._abort("no_progress")
            return None
        self._bytes_waited, self._received = waiting > 0, False
        self._ping = b"" if waiting else _PING
        return self._timeouts.ping_interval

    def send_ping(self) -> None:
        """Sends the ping that is due, unless it has left with a heartbeat."""
        if self._ping and self._is_open:
            self._write(self._ping)
        self._ping = b""
