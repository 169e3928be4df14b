import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from livebalance.gateway.auth.credentials import Credentials
from livebalance.gateway.limits.client_address import UNNAMED
from livebalance.gateway.server.frame_encoder import FrameEncoder
from livebalance.gateway.server.handshake import Handshake
from livebalance.gateway.server.request_head import RequestRules
from livebalance.gateway.server.tcp import TransportTimeouts
from livebalance.wire.websocket_frame import encode_text
from tests.bench.echo import EchoConnection, EchoOwner

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
PING = b"\x89\x00"


class RecordingTransport:
    """A transport that keeps each write."""

    def __init__(self, raw: socket.socket) -> None:
        self.writes: list[bytes] = []
        self._socket = raw

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, _: str) -> socket.socket:
        return self._socket

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, **_: Any) -> None: ...


@pytest.fixture
def transport() -> Iterator[RecordingTransport]:
    with socket.socket() as raw:
        yield RecordingTransport(raw)


@pytest.fixture
def connection(transport: RecordingTransport) -> EchoConnection:
    """A connection that is open, and echoes messages."""
    checks = Handshake(RequestRules(), Credentials("", frozenset()))
    connection = EchoConnection(
        EchoOwner(), checks, TransportTimeouts(), ServerState(), FrameEncoder(), peer=UNNAMED
    )
    connection.connection_made(cast(Any, transport))
    connection.data_received(HANDSHAKE)
    transport.writes.clear()
    return connection


def frame(text: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, text, fin).serialize(mask=True)


def test_ping_leaves_in_the_same_write_as_what_waits(
    connection: EchoConnection, transport: RecordingTransport
) -> None:
    assert connection._session
    connection._session.outbox.set_heartbeat(b"{}")
    assert connection.check() == 20.0
    connection.flush(0.0)
    connection.send_ping()
    assert transport.writes == [PING + encode_text(b"{}")]


def test_ping_leaves_alone_if_nothing_waits(
    connection: EchoConnection, transport: RecordingTransport
) -> None:
    for _ in range(2):
        assert connection.check() == 20.0
        connection.send_ping()
        connection.send_ping()
        connection.data_received(frame(b"", Opcode.PONG))
    assert transport.writes == [PING, PING]


async def test_messages_in_any_reads_are_answered_in_order(
    connection: EchoConnection, transport: RecordingTransport
) -> None:
    """Some are plain, and others are fragmented, split between reads, or followed by a ping."""
    split = frame(b"d")
    sent = [
        frame(b"a") + frame(b"b" * 200),
        frame(b"c") + split[:3],
        split[3:] + frame(b"", Opcode.PONG) + frame(b"e", fin=False),
        frame(b"f", Opcode.CONT) + frame(b"g") + frame(b"h", Opcode.PING),
        frame(b"i"),
    ]
    for data in sent:
        connection.data_received(data)
    answers = [b"a", b"b" * 200, b"c", b"d", b"ef", b"g", b"i"]
    pong = Frame(Opcode.PONG, b"h").serialize(mask=False)
    assert b"".join(data for data in transport.writes if data != pong) == b"".join(map(encode_text, answers))
    assert transport.writes.count(pong) == 1


@pytest.mark.parametrize("first", range(1, 60))
async def test_message_that_is_split_anywhere_is_answered_once(
    connection: EchoConnection, transport: RecordingTransport, first: int
) -> None:
    data = frame(b"x" * 20) + frame(b"", Opcode.PONG) + frame(b"y" * 20)
    connection.data_received(data[:first])
    connection.data_received(data[first:])
    assert b"".join(transport.writes) == encode_text(b"x" * 20) + encode_text(b"y" * 20)
