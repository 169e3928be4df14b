"""The one file that touches a WebSocket: the handshake, frames in, ready frames out, and when to give up.

A class for uvicorn's `ws` setting that starts no ASGI task: a session costs a few KiB, and a ready frame goes
straight to the transport. While a client does not take bytes, nothing is read from it either.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Collection
from http import HTTPStatus
from math import ceil
from secrets import token_urlsafe
from typing import Any, NamedTuple, Protocol, cast

from msgspec import json
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from livebalance.gateway.credentials import Credentials, in_url
from livebalance.gateway.doorman import Address, Turned
from livebalance.gateway.session import Session
from livebalance.runtime import logs
from livebalance.wire.close import Close, Reason
from livebalance.wire.frame import MAX_CLIENT_FRAME, SUBPROTOCOL

PATH = "/ws"
CLOSE_WITHIN = 5.0  # seconds for the other side to close in turn
FRAGMENTS = 64  # of one message
POLICY = 1008  # RFC 6455

_log = logs.get("socket")
_OUTQ = struct.Struct("i")


class Gateway(Protocol):
    """What a socket needs of the gateway behind it."""

    draining: bool

    def admit(self, address: Address) -> Turned | None: ...
    def left(self, address: Address) -> None: ...
    def connect(self, name: str, address: Address, link: Any) -> Session: ...
    def present(self, session: Session, token: str) -> None: ...
    def disconnect(self, session: Session) -> None: ...
    def receive(self, session: Session, text: bytes) -> None: ...
    def writable(self, session: Session, writable: bool) -> None: ...


class Patience(NamedTuple):
    """How long a client may be silent, and how much may wait for it."""

    ping_period: float = 20.0  # seconds; a pong must come within the next, unless data waits
    no_progress: float = 120.0  # seconds in which data waits and none of it leaves
    high_water: int = 64 * 1024  # bytes in the transport's buffer above which it takes no more
    send_buffer: int = 128 * 1024  # bytes, the kernel's


class Socket(asyncio.Protocol):
    __slots__ = (
        "_address",
        "_admitted",
        "_connections",
        "_credentials",
        "_delivered",
        "_fragments",
        "_gateway",
        "_heard",
        "_patience",
        "_protocol",
        "_proxies",
        "_quiet_since",
        "_session",
        "_timer",
        "_waited",
        "_writable",
        "_written",
        "transport",
    )

    def __init__(
        self,
        gateway: Gateway,
        patience: Patience,
        state: ServerState,
        proxies: Collection[Address],
        credentials: Credentials,
    ) -> None:
        self._gateway = gateway
        self._proxies = proxies
        self._credentials = credentials
        self._address: Address = ""
        self._admitted = False
        self._patience = patience
        self._connections: set[Any] = state.connections
        self._protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=MAX_CLIENT_FRAME)
        self._session: Session | None = None
        self.transport: asyncio.Transport
        self._fragments: list[bytes] = []
        self._writable = True
        self._written = 0  # bytes, ever
        self._delivered = 0  # of them, those that had left this machine at the last check
        self._heard = True  # anything, since the last check
        self._waited = False  # something waited to leave at the last check
        self._quiet_since = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    # --- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._connections.add(self)
        self.transport.set_write_buffer_limits(high=self._patience.high_water)
        with contextlib.suppress(OSError):
            _raw(self.transport).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._patience.send_buffer)
        self._wait(self._patience.ping_period, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._timer:
            self._timer.cancel()
        self._leave()
        if self._admitted:
            self._gateway.left(self._address)

    def eof_received(self) -> bool:
        self._leave()
        return False  # the transport closes

    def pause_writing(self) -> None:
        self._writable = False
        if self._session:
            self._gateway.writable(self._session, False)
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._writable = True
        if not self.transport.is_closing():
            self.transport.resume_reading()
        if self._session:
            self._gateway.writable(self._session, True)

    def shutdown(self) -> None:
        """uvicorn is about to stop."""
        if self._session:
            self.hang_up(Close.GOING_AWAY, "stopping", None)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._receive(data)
        except Exception:
            # What one client sent must not end the others. The log has the traceback, the client its name.
            id_ = token_urlsafe(6)
            _log.exception("a client met a bug", error_id=id_)
            self._protocol.fail(Close.INTERNAL, f'{{"code":"internal","error_id":"{id_}"}}')
            self._leave()
        self._write_protocol()

    def _receive(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._shake_hands(event)
            elif isinstance(event, Frame) and self._session:
                self._frame(self._session, event)
        if self._protocol.handshake_exc and not self._session and not self._written:
            self._write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n")

    # --- the handshake

    def _shake_hands(self, request: Request) -> None:
        refused = self._refusal(request)
        response = self._protocol.reject(*refused) if refused else self._turned(request)
        self._protocol.send_response(response or self._protocol.accept(request))
        self._write_protocol()
        if self._protocol.state is OPEN:
            session = self._session = self._gateway.connect(token_urlsafe(9), self._address, self)
            if token := self._credentials.cookie(request.headers.get_all("Cookie")):
                self._gateway.present(session, token)

    def _refusal(self, request: Request) -> tuple[HTTPStatus, str] | None:
        if request.path.partition("?")[0] != PATH:
            return HTTPStatus.NOT_FOUND, "no WebSocket here\n"
        if self._gateway.draining:
            return HTTPStatus.SERVICE_UNAVAILABLE, "draining\n"
        if in_url(request.path.partition("?")[2]):
            return HTTPStatus.BAD_REQUEST, "token_in_url\n"
        if not self._credentials.welcome(request.headers):
            return HTTPStatus.FORBIDDEN, "origin not allowed\n"
        return None

    def _turned(self, request: Request) -> Response | None:
        """Away, for a while: there are too many, or they come too fast."""
        self._address = _address(self.transport, request, self._proxies)
        turned = self._gateway.admit(self._address)
        if turned is None:
            self._admitted = True
            return None
        status = HTTPStatus.TOO_MANY_REQUESTS if turned.by_address else HTTPStatus.SERVICE_UNAVAILABLE
        response = self._protocol.reject(status, f"{turned.why}\n")
        response.headers["Retry-After"] = str(ceil(turned.seconds))
        return response

    # --- frames in

    def _frame(self, session: Session, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._leave()
        elif frame.opcode is Opcode.BINARY:
            self._fail(Close.UNSUPPORTED)
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
            self._fragments.append(bytes(frame.data))
            if frame.fin:
                text, self._fragments = b"".join(self._fragments), []
                self._text(session, text)
            elif len(self._fragments) >= FRAGMENTS:
                self._fail(POLICY)

    def _text(self, session: Session, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            self._fail(Close.BAD_TEXT)
        else:
            self._gateway.receive(session, text)

    # --- frames out

    def flush(self) -> int:
        """Writes what is due to this client, at once; returns how many bytes. Nothing while it takes none."""
        if self._session is None or not self._writable:
            return 0
        frames = self._session.outbox.take(time.monotonic())
        if frames:
            self._write(frames)
        return len(frames)

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

    def hang_up(self, code: Close, reason: str, retry_after_ms: int | None) -> None:
        self.flush()
        self._leave()
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, json.encode(Reason(reason, retry_after_ms)).decode())
            self._write_protocol()
            self._wait(CLOSE_WITHIN, self.transport.abort)

    def _fail(self, code: int) -> None:
        self._leave()
        self._protocol.fail(code)

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session:
            self._gateway.disconnect(session)

    # --- silence

    def _wait(self, seconds: float, then: Any) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, then)

    def _check(self) -> None:
        """Who answers no ping is gone. Who is sent more than it takes may answer late: progress is enough."""
        now, waiting = time.monotonic(), self._waiting()
        delivered = self._written - waiting
        if self._heard or delivered > self._delivered:
            self._quiet_since = now
        no_pong = not self._heard and not self._waited
        if no_pong or now - self._quiet_since >= self._patience.no_progress:
            self.transport.abort()
            return
        self._delivered, self._waited, self._heard = delivered, waiting > 0, False
        if not waiting and self._protocol.state is OPEN:
            self._protocol.send_ping(b"")
            self._write_protocol()
        self._wait(self._patience.ping_period, self._check)

    def _waiting(self) -> int:
        """Bytes the other side has not acknowledged, as far as this system tells."""
        waiting = self.transport.get_write_buffer_size()
        with contextlib.suppress(OSError):
            answer = fcntl.ioctl(_raw(self.transport).fileno(), termios.TIOCOUTQ, b"\0" * _OUTQ.size)
            waiting += _OUTQ.unpack(answer)[0]
        return waiting


def _address(transport: asyncio.Transport, request: Request, proxies: Collection[Address]) -> Address:
    """Of the client; a proxy of ours has put it last into X-Forwarded-For."""
    peer: Address = transport.get_extra_info("peername")[0]
    told = ",".join(request.headers.get_all("X-Forwarded-For")).rpartition(",")[2].strip()
    return told if told and peer in proxies else peer


def _raw(transport: asyncio.Transport) -> socket.socket:
    found: socket.socket = transport.get_extra_info("socket")
    return found
