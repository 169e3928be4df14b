"""Bytes as a stranger sends them, and what comes back."""

import asyncio
import json
import os
import socket
import struct
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from tests.integration.gateway.straw import straw
from tests.tokens import token

WITHIN = 8.0
END = b"\r\n"  # of a line, and of a head
KEY = b"AAAAAAAAAAAAAAAAAAAAAA=="
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
    b"Sec-WebSocket-Protocol: livebalance.v1\r\n"
)
BROWSE = (
    b"GET /api/v1/accounts HTTP/1.1\r\nHost: here\r\nConnection: close\r\n"
    b"Authorization: Bearer " + token().encode() + b"\r\n"
)
TEXT, CONT, BINARY, CLOSE, PING, PONG = 1, 0, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """As a client sends it, masked with a key of zeros."""
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


class Answer(NamedTuple):
    """Of HTTP, and everything until the connection was closed."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        found: str = json.loads(self.body)["code"]
        return found


class Closed(NamedTuple):
    code: int
    reason: dict[str, Any]


class Raw:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.frames: list[dict[str, Any]] = []

    @classmethod
    async def connect(cls, url: str, *, narrow: bool = False) -> Self:
        """`narrow`: nobody on its side keeps much that it has not read."""
        if narrow:
            return cls(*await asyncio.open_connection(sock=straw(url), limit=1024))
        at = urlsplit(url)
        return cls(*await asyncio.open_connection(at.hostname, at.port))

    @classmethod
    async def open(cls, url: str, request: bytes = UPGRADE + END, *, narrow: bool = False) -> Self:
        """A WebSocket, welcomed."""
        one = await cls.connect(url, narrow=narrow)
        one.send(request)
        async with asyncio.timeout(WITHIN):
            status = await one.reader.readuntil(b"\r\n\r\n")
        assert status.startswith(b"HTTP/1.1 101 "), status
        one.send(message("auth", token=token()))
        await one.until("welcome")
        return one

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def stop_reading(self) -> None:
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is one that reads, too

    def unread(self) -> bytes:
        """What has come and was not asked for yet, here or in the kernel."""
        here = bytes(self.reader._buffer)  # type: ignore[attr-defined]  # it has no way to look
        twin = socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno()))
        with twin:
            try:
                return here + twin.recv(65536, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return here

    async def frame(self) -> tuple[int, bytes]:
        """The next: opcode and payload."""
        first, second = await self.reader.readexactly(2)
        assert first & 0x80, "a gateway sends whole messages"
        size = second
        if second == 126:
            (size,) = struct.unpack(">H", await self.reader.readexactly(2))
        elif second == 127:
            (size,) = struct.unpack(">Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def until(self, type_: str) -> dict[str, Any]:
        """The next message of that type."""
        async with asyncio.timeout(WITHIN):
            while True:
                opcode, payload = await self.frame()
                assert opcode != CLOSE, payload
                if opcode == TEXT:
                    self.frames.append(json.loads(payload))
                    if self.frames[-1]["type"] == type_:
                        return self.frames[-1]

    async def closed(self) -> Closed:
        """How the gateway closed it; its reason is JSON in words, and short."""
        async with asyncio.timeout(WITHIN):
            while True:
                opcode, payload = await self.frame()
                if opcode == TEXT:
                    self.frames.append(json.loads(payload))
                elif opcode == CLOSE:
                    break
            assert len(payload) <= 125
            reason = json.loads(payload[2:])
            assert {"code"} <= set(reason) <= {"code", "message", "retry_after_ms", "error_id"}
            self.send(frame(CLOSE, payload[:2]))
            await self.rest()
        return Closed(int.from_bytes(payload[:2], "big"), reason)

    async def rest(self) -> bytes:
        """Everything until it is closed."""
        try:
            async with asyncio.timeout(WITHIN):
                return await self.reader.read()
        except ConnectionResetError:
            return b""

    async def answer(self) -> Answer:
        head, _, body = (await self.rest()).partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
        return Answer(int(status.split(" ")[1]), headers, body)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()


async def talk(url: str, request: bytes) -> Answer:
    """Sends it, and hears until the gateway closes."""
    async with await Raw.connect(url) as one:
        one.send(request)
        return await one.answer()
