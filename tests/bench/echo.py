"""The gateway's socket, saying back what it hears: for a fuzzing client that judges how it speaks RFC 6455.

`python -m tests.bench.echo PORT` takes what a judge needs and a gateway refuses: binary messages, large ones,
no subprotocol, any path. With `--as-it-is` only the subprotocol and the path are free. `--plain` is the echo
of the library alone, to compare with. docs/decisions/0010 has what came of it.
"""

import argparse
import asyncio
from typing import Any

import uvicorn
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from livebalance.gateway.auth.credentials import Credentials
from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.live.outbox import Outbox
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.server import websocket
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.gateway.server.handshake import Handshake
from livebalance.gateway.server.refusal import Refusal
from livebalance.gateway.server.request_head import RequestRules
from livebalance.gateway.server.tcp import TransportTimeouts
from livebalance.gateway.server.websocket import WebSocketConnection
from livebalance.wire.websocket_frame import encode_text

LARGEST = 32 * 1024 * 1024  # bytes
FIN = 0x80


class Mirror:
    """A gateway that says what it was told."""

    def admit(self, _: Address) -> Refusal | None:
        return None

    def release(self, _: Address) -> None: ...
    def authenticate(self, *_: Any) -> None: ...
    def disconnect(self, *_: Any) -> None: ...

    def connect(self, name: str, address: Address, _: Any) -> Session:
        return Session(name, address, Outbox(LARGEST), 0, SessionLimits())

    def set_writable(self, session: Session, writable: bool) -> None:
        session.outbox.writable = writable

    def handle_message(self, session: Session, text: bytes) -> None:
        session.outbox.put_control(text)

    def perform(self) -> None: ...


class Echo(WebSocketConnection):
    """It flushes as a relay would."""

    def _handle_handshake(self, request: Request) -> None:
        self._protocol.available_subprotocols = None
        self._protocol.send_response(self._protocol.accept(request))
        self._flush_protocol()
        self._open = self._protocol.handshake_exc is None
        self._session = self._relay.connect("echo", "", self) if self._open else None

    def _handle_text(self, session: Session, text: bytes) -> None:
        super()._handle_text(session, text)
        self.flush(0.0)


class Tolerant(Echo):
    _binary = False

    def _handle_handshake(self, request: Request) -> None:
        super()._handle_handshake(request)
        self._protocol.max_message_size = LARGEST

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


async def plain(port: int) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", port, max_size=LARGEST, compression=None, ping_interval=None):
        await asyncio.get_running_loop().create_future()


def ours(port: int, kind: type[Echo]) -> None:
    entrance = Handshake(RequestRules(), Credentials("", frozenset()))
    encoder = FrameEncoder()

    def made(config: uvicorn.Config, server_state: Any, app_state: Any) -> WebSocketConnection:
        return kind(Mirror(), entrance, TransportTimeouts(), server_state, encoder)

    async def nothing(*_: Any) -> None: ...

    uvicorn.run(nothing, port=port, ws=made, lifespan="off", log_level="warning")  # type: ignore[arg-type]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--as-it-is", action="store_true")
    parser.add_argument("--plain", action="store_true")
    asked = parser.parse_args()
    if asked.plain:
        asyncio.run(plain(asked.port))
    elif asked.as_it_is:
        ours(asked.port, Echo)
    else:
        websocket.MAX_FRAGMENTS = websocket.CONTROL_FRAME_BURST = LARGEST
        ours(asked.port, Tolerant)


if __name__ == "__main__":
    main()
