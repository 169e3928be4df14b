"""Raw HTTP and WebSocket bytes of a client, and what the gateway sends back."""

import asyncio
import json
import os
import socket
import struct
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.integration.gateway.narrow_socket import narrow_socket
from tests.tokens import token

TIMEOUT_SECONDS = 30.0
CRLF = b"\r\n"  # ends a line, and the head
KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
HANDSHAKE_HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
    b"Sec-WebSocket-Protocol: livebalance.v1\r\n"
)
ACCOUNTS_HEAD = (
    b"GET /api/v1/accounts HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
    b"Authorization: Bearer " + token().encode() + b"\r\n"
)
TEXT, CONT, BINARY, CLOSE, PING, PONG = 1, 0, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """Returns a WebSocket frame of a client, masked with a key of zeros."""
    size, mask = len(payload), 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([mask | size])
    elif size < 1 << 16:
        head += bytes([mask | 126]) + struct.pack(">H", size)
    else:
        head += bytes([mask | 127]) + struct.pack(">Q", size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


def message(type_: str, **fields: Any) -> bytes:
    return frame(TEXT, json.dumps({"type": type_, "id": 1, **fields}).encode())


class RawResponse(NamedTuple):
    """An HTTP response, whose body is everything until the connection was closed."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem."""
        code: str = json.loads(self.body)["code"]
        return code


class CloseFrame(NamedTuple):
    """The close frame of the gateway."""

    code: int
    reason: dict[str, Any]


class RawConnection:
    """A TCP connection to a gateway. `frames` has the messages received so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames: list[dict[str, Any]] = []

    @classmethod
    async def connect(cls, url: str, *, narrow: bool = False) -> Self:
        """Connects. With `narrow`, the client's buffers are small."""
        if narrow:
            return cls(*await asyncio.open_connection(sock=narrow_socket(url), limit=1024))
        address = urlsplit(url)
        return cls(*await asyncio.open_connection(address.hostname, address.port))

    @classmethod
    async def open(cls, url: str, request: bytes = HANDSHAKE_HEAD + CRLF, *, narrow: bool = False) -> Self:
        """Opens a WebSocket, authenticates and waits for `welcome`."""
        connection = await cls.connect(url, narrow=narrow)
        connection.send(request)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            status = await connection.reader.readuntil(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 101 "), status
        connection.send(message("auth", token=token()))
        await connection.until("welcome")
        return connection

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def stop_reading(self) -> None:
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a transport for reading, too

    def unread(self) -> bytes:
        """Returns the bytes that have arrived and were not read, of the reader's buffer and the kernel's."""
        buffered = bytes(self.reader._buffer)  # type: ignore[attr-defined]  # there is no public way
        duplicate = socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno()))
        with duplicate:
            try:
                return buffered + duplicate.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return buffered

    async def read_frame(self) -> tuple[int, bytes]:
        """Returns the opcode and the payload of the next frame."""
        first, second = await self.reader.readexactly(2)
        assert first & 0x80, "a gateway does not fragment messages"
        size = second
        if second == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif second == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def until(self, type_: str) -> dict[str, Any]:
        """Waits for the next message of this type, and returns it."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                opcode, payload = await self.read_frame()
                assert opcode != CLOSE, payload
                if opcode == TEXT:
                    self.frames.append(json.loads(payload))
                    if self.frames[-1]["type"] == type_:
                        return self.frames[-1]

    async def until_closed(self) -> CloseFrame:
        """Waits for the close frame, and returns it. Its reason must be short JSON."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                opcode, payload = await self.read_frame()
                if opcode == TEXT:
                    self.frames.append(json.loads(payload))
                elif opcode == CLOSE:
                    break
            assert len(payload) <= 125
            reason = json.loads(payload[2:])
            assert {"code"} <= set(reason) <= {"code", "message", "retry_after_ms", "error_id"}
            self.send(frame(CLOSE, payload[:2]))
            await self.read_all()
        return CloseFrame(int.from_bytes(payload[:2], "big"), reason)

    async def read_all(self) -> bytes:
        """Returns everything until the connection is closed."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await self.reader.read()
        except ConnectionResetError:
            return b""

    async def response(self) -> RawResponse:
        head, _, body = (await self.read_all()).partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return RawResponse(int(status.split(" ")[1]), headers, body)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()


async def send_request(url: str, request: bytes) -> RawResponse:
    """Sends `request` on a new connection, and reads until the gateway closes it."""
    async with await RawConnection.connect(url) as connection:
        connection.send(request)
        return await connection.response()
