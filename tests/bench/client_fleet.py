"""Thousands of clients in one process, each of one account: they come back and resume as ours do.

Started by `tests.bench.reconnect_storm` and `tests.bench.idle_clients`, which tell it what to do on stdin, a JSON list a line,
and are answered on stdout, an object a line.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from typing import Any, cast

import uvloop
from msgspec import json

from livebalance.client.backoff import backoff_delay
from livebalance.wire.frame import (
    Auth,
    ChannelRequest,
    DeltaFrame,
    Heartbeat,
    PositionJson,
    Snapshot,
    Subscribe,
    decode_server_frame,
    encode_frame,
)
from livebalance.wire.identity import AccountId, Epoch, Position, channel_name
from tests.tokens import token

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: livebalance.v1\r\nX-Forwarded-For: {}\r\n\r\n"
)
PONG = b"\x8a\x80\0\0\0\0"


def masked(text: bytes) -> bytes:
    """A text frame of a client, with a mask of nothing."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


class Member(asyncio.Protocol):
    """One client: connects, says who it is, resumes; and does so again whenever it is cut."""

    def __init__(self, crowd: "Crowd", number: int, account: AccountId) -> None:
        self._crowd = crowd
        self._channel = channel_name(account)
        self._token = token()
        self._address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        self._failures = 0
        self._buffer = bytearray()
        self._greeted = False
        self.position: Position | None = None
        self.answered: float | None = None  # when it had the account again
        self.transport: asyncio.Transport | None = None

    def itself(self) -> "Member":
        return self

    async def connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(self.itself, "127.0.0.1", self._crowd.port)
        except OSError:
            self._again()

    def _again(self) -> None:
        self.transport = None
        if not self._crowd.leaving:
            wait = backoff_delay(self._failures, random.random())
            self._failures += 1
            self._crowd.later(wait, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._buffer.clear()
        self._greeted = False
        self.transport.write(HANDSHAKE.format(self._address).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._again()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._greeted and not self._greet():
            return
        while frame := self._next():
            self._take(*frame)

    def _greet(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        self._buffer = rest
        if not head.startswith(b"HTTP/1.1 101"):
            self._crowd.turned += 1
            self._crowd.refusals.add(bytes(head))
            return False  # its connection is about to be lost
        self._greeted, self._failures = True, 0
        at = PositionJson(self.position.epoch, self.position.revision) if self.position else None
        wanted = Subscribe(1, [ChannelRequest(self._channel, at)])
        assert self.transport
        self.transport.write(masked(encode_frame(Auth(self._token))) + masked(encode_frame(wanted)))
        return True

    def _next(self) -> tuple[int, bytes] | None:
        buffer, head = self._buffer, 2
        if len(buffer) < head:
            return None
        size = buffer[1]
        if size == 126:
            size, head = int.from_bytes(buffer[2:4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(buffer[2:10], "big"), 10
        if len(buffer) < head + size:
            return None
        opcode, text = buffer[0] & 15, bytes(buffer[head : head + size])
        del buffer[: head + size]
        return opcode, text

    def _take(self, opcode: int, text: bytes) -> None:
        if opcode == 9 and self.transport:
            self.transport.write(PONG)
        if opcode != 1:
            return
        frame = decode_server_frame(text)
        if isinstance(frame, Snapshot):
            self._crowd.snapshots[frame.reason] += 1
            self._at(Position(Epoch(frame.epoch), frame.revision))
        elif isinstance(frame, DeltaFrame):
            if self.position != Position(Epoch(frame.epoch), frame.from_):
                self._crowd.holes += 1
            self._at(Position(Epoch(frame.epoch), frame.to))
        elif isinstance(frame, Heartbeat):
            self._crowd.heartbeats += 1

    def _at(self, position: Position) -> None:
        if self.position and self.position.epoch == position.epoch:
            self._crowd.back += position.revision < self.position.revision
        self.position = position
        if self.answered is None:
            self.answered = time.perf_counter()


class Crowd:
    def __init__(self) -> None:
        self.port = 0
        self.members: list[Member] = []
        self.leaving = False
        self.turned = self.holes = self.back = self.heartbeats = 0
        self.snapshots: Counter[str] = Counter()  # by reason
        self.refusals: set[bytes] = set()  # heads of the answers to those who were turned away
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, seconds: float, member: Member) -> None:
        asyncio.get_running_loop().call_later(seconds, self._connect, member)

    def _connect(self, member: Member) -> None:
        task = asyncio.create_task(member.connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def come(self, port: int, count: int, accounts: int, per_second: float) -> dict[str, Any]:
        """`count` more clients, so many a second."""
        self.port = port
        first = len(self.members)
        for number in range(first, first + count):
            member = Member(self, number, AccountId(f"acc-{number % accounts:05}"))
            self.members.append(member)
            self.later((number - first) / per_second, member)
        return await self._all_answered(time.perf_counter())

    async def cut(self, port: int) -> dict[str, Any]:
        """All at once; they find their gateway at `port` from now on."""
        self.port, self.turned = port, 0
        began = time.perf_counter()
        for one in self.members:
            one.answered = None
            if one.transport:
                one.transport.abort()
        return await self._all_answered(began)

    async def _all_answered(self, began: float) -> dict[str, Any]:
        async with asyncio.timeout(180):
            while any(one.answered is None for one in self.members):  # noqa: ASYNC110 - thousands would tell
                await asyncio.sleep(0.1)
        times = sorted(one.answered - began for one in self.members if one.answered)
        return {
            "median": times[len(times) // 2],
            "p95": times[len(times) * 95 // 100],
            "last": times[-1],
            "turned": self.turned,
            "holes": self.holes,
        }

    async def where(self) -> dict[str, Any]:
        """For each channel, the positions its clients are at."""
        found: dict[str, set[int]] = {}
        for number, one in enumerate(self.members):
            assert one.position, number
            found.setdefault(one._channel, set()).add(one.position.revision)
        return {channel: sorted(revisions) for channel, revisions in found.items()}

    async def beats(self) -> dict[str, Any]:
        """Heartbeats so far, of all."""
        return {"heartbeats": self.heartbeats}


async def main() -> None:
    crowd = Crowd()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        name, *arguments = json.decode(line)
        answer = await getattr(crowd, name)(*arguments)
        print(json.encode(answer).decode(), flush=True)
    crowd.leaving = True


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
