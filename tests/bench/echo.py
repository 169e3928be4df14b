"""Echo server with the gateway's WebSocket class, for a fuzzing client that judges its RFC 6455.

`python -m tests.bench.echo PORT` accepts what the judge sends and a gateway rejects: binary messages, large
messages, no subprotocol, any path. With `--as-it-is` it accepts any subprotocol and path, but keeps the
gateway's limits. `--plain` runs an echo server of the library `websockets`, to compare with. Decision 10 has
the results.
"""

import argparse
import asyncio
from typing import Any

import uvicorn
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from livebalance.gateway.auth.credentials import Credentials
from livebalance.gateway.limits.client_address import UNNAMED, Address
from livebalance.gateway.limits.connections import ConnectionLimiter, ConnectionLimits
from livebalance.gateway.live.outbox import Outbox
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.server import websocket
from livebalance.gateway.server.admission import Admission
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.gateway.server.handshake import Handshake
from livebalance.gateway.server.request_head import RequestRules
from livebalance.gateway.server.tcp import TransportTimeouts
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.gateway.server.websocket_protocol import WebSocketProtocol
from livebalance.wire.websocket_frame import encode_text

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
FIN = 0x80


class EchoOwner:
    """Stands in for the gateway's `Connections`, and sends each message back to its session."""

    admission = Admission(ConnectionLimiter(ConnectionLimits(1, 1, 1, 1)), lambda _: None)  # not asked

    def authenticate(self, *_: Any) -> None: ...
    def disconnect(self, *_: Any) -> None: ...

    def connect(self, name: str, address: Address, _: Any) -> Session:
        return Session(name, address, Outbox(MAX_MESSAGE_BYTES), 0, SessionLimits())

    def set_writable(self, session: Session, writable: bool) -> None:
        session.outbox.writable = writable

    def handle_message(self, session: Session, text: bytes) -> None:
        session.outbox.put_control(text)

    def perform(self) -> None: ...
    def flush(self, _: Any) -> None: ...


class EchoConnection(WebSocketConnection):
    """Accepts any subprotocol and path, and flushes after each message as the gateway does."""

    def _receive(self, data: bytes) -> None:
        is_handshake = not self._accepted
        super()._receive(data)
        if is_handshake and self._accepted:
            self._protocol = None  # frames are read as after a plain handshake

    def _handle_handshake(self, protocol: WebSocketProtocol, request: Request) -> None:
        protocol.available_subprotocols = None
        protocol.send_response(protocol.accept(request))
        self._flush_protocol()
        self._accepted = self._open = protocol.handshake_exc is None
        self._session = self._owner.connect("echo", "", self) if self._open else None

    def _handle_text(self, session: Session, text: bytes) -> None:
        super()._handle_text(session, text)
        self.flush(0.0)


class TolerantConnection(EchoConnection):
    """Also accepts binary and large messages."""

    _binary = False

    def _library(self) -> WebSocketProtocol:
        library = super()._library()
        library.max_message_size = MAX_MESSAGE_BYTES
        return library

    def _handle_frame(self, session: Session, frame: Frame) -> bool:
        if frame.opcode is Opcode.BINARY:
            self._binary = True
            frame = Frame(Opcode.TEXT, frame.data, frame.fin)
        return super()._handle_frame(session, frame)

    def _handle_text(self, session: Session, text: bytes) -> None:
        if not self._binary:
            super()._handle_text(session, text)
            return
        self._binary = False
        frame = encode_text(text)
        self._write(bytes([Opcode.BINARY | FIN]) + frame[1:])


async def serve_plain(port: int) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(
        echo, "127.0.0.1", port, max_size=MAX_MESSAGE_BYTES, compression=None, ping_interval=None
    ):
        await asyncio.get_running_loop().create_future()


def serve_ours(port: int, connection_class: type[EchoConnection]) -> None:
    handshake = Handshake(RequestRules(), Credentials("", frozenset()))
    encoder = FrameEncoder()

    def make_connection(config: uvicorn.Config, server_state: Any, app_state: Any) -> WebSocketConnection:
        return connection_class(
            EchoOwner(), handshake, TransportTimeouts(), server_state, encoder, peer=UNNAMED
        )

    async def no_app(*_: Any) -> None: ...

    uvicorn.run(no_app, port=port, ws=make_connection, lifespan="off", log_level="warning")  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--as-it-is", action="store_true")
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    if arguments.plain:
        asyncio.run(serve_plain(arguments.port))
    elif arguments.as_it_is:
        serve_ours(arguments.port, EchoConnection)
    else:
        websocket.MAX_FRAGMENTS = websocket.CONTROL_FRAME_BURST = MAX_MESSAGE_BYTES  # in effect no limits
        serve_ours(arguments.port, TolerantConnection)


if __name__ == "__main__":
    main()
