"""Thousands of clients in one process, each of one account, that reconnect and resume like real clients.

Started by `tests.bench.reconnect_storm` and `tests.bench.idle_clients`. Each line of stdin is a JSON list: a
method of ClientFleet, and its arguments. The result of the call is written to stdout as a line of JSON.
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
    Error,
    PositionJson,
    Snapshot,
    Subscribe,
    decode_server_frame,
    encode_frame,
)
from livebalance.wire.identity import AccountId, Epoch, Position, channel_name
from tests.bench.peers.client import client_frame
from tests.tokens import token

HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: livebalance.v1\r\nX-Forwarded-For: {}\r\n\r\n"
)
PONG = b"\x8a\x80\0\0\0\0"


class FleetClient(asyncio.Protocol):
    """A client that connects, authenticates and resumes, and does so again after each lost connection."""

    def __init__(self, fleet: "ClientFleet", number: int, account: AccountId) -> None:
        self.channel = channel_name(account)
        self.position: Position | None = None
        self.current_at: float | None = None  # when the client first had the account after a disconnect
        self.transport: asyncio.Transport | None = None
        self._fleet = fleet
        self._token = token()
        self._address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        self._failures = 0
        self._buffer = bytearray()
        self._is_open = False

    async def connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self, "127.0.0.1", self._fleet.port)
        except OSError:
            self._reconnect_later()

    def _reconnect_later(self) -> None:
        self.transport = None
        if not self._fleet.closing:
            delay = backoff_delay(self._failures, random.random())
            self._failures += 1
            self._fleet.connect_later(delay, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._buffer.clear()
        self._is_open = False
        self.transport.write(HANDSHAKE.format(self._address).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._reconnect_later()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_open and not self._finish_handshake():
            return
        while frame := self._next_frame():
            self._handle_frame(*frame)

    def _finish_handshake(self) -> bool:
        """Reads the response, authenticates and subscribes. Returns whether the connection is open."""
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        self._buffer = rest
        if not head.startswith(b"HTTP/1.1 101"):
            self._fleet.rejected += 1
            self._fleet.rejections.add(bytes(head + end + rest))
            return False  # the gateway closes the connection
        self._is_open, self._failures = True, 0
        assert self.transport
        self.transport.write(client_frame(encode_frame(Auth(self._token))) + self._subscribe_frame())
        return True

    def _subscribe_frame(self) -> bytes:
        position = PositionJson(self.position.epoch, self.position.revision) if self.position else None
        return client_frame(encode_frame(Subscribe(1, [ChannelRequest(self.channel, position)])))

    def _subscribe_again(self, transport: asyncio.Transport) -> None:
        if not transport.is_closing():
            transport.write(self._subscribe_frame())

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Returns opcode and content of the next whole frame in the buffer."""
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

    def _handle_frame(self, opcode: int, text: bytes) -> None:
        if opcode == 9 and self.transport:
            self.transport.write(PONG)
        if opcode != 1:
            return
        frame = decode_server_frame(text)
        if isinstance(frame, Snapshot):
            self._fleet.snapshots[frame.reason] += 1
            self._set_position(Position(Epoch(frame.epoch), frame.revision))
        elif isinstance(frame, DeltaFrame):
            if self.position != Position(Epoch(frame.epoch), frame.from_):
                self._fleet.gaps += 1
            self._set_position(Position(Epoch(frame.epoch), frame.to))
        elif isinstance(frame, Error):
            self._fleet.errors[frame.code] += 1
            if frame.retry_after_ms and self.transport:
                delay = frame.retry_after_ms / 1000
                asyncio.get_running_loop().call_later(delay, self._subscribe_again, self.transport)

    def _set_position(self, position: Position) -> None:
        if self.position and self.position.epoch == position.epoch:
            self._fleet.went_back += position.revision < self.position.revision
        self.position = position
        if self.current_at is None:
            self.current_at = time.perf_counter()


class ClientFleet:
    """Clients of one gateway, and counts of what they received."""

    def __init__(self) -> None:
        self.port = 0
        self.clients: list[FleetClient] = []
        self.closing = False  # True: clients do not reconnect
        self.rejected = self.gaps = self.went_back = 0
        self.snapshots: Counter[str] = Counter()  # by reason
        self.errors: Counter[str] = Counter()  # by code
        self.rejections: set[bytes] = set()  # responses that rejected a connection
        self._tasks: set[asyncio.Task[None]] = set()

    def connect_later(self, seconds: float, client: FleetClient) -> None:
        asyncio.get_running_loop().call_later(seconds, self._connect, client)

    def _connect(self, client: FleetClient) -> None:
        task = asyncio.create_task(client.connect())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def connect(self, port: int, count: int, accounts: int, per_second: float) -> dict[str, Any]:
        """Connects `count` more clients to the gateway at `port`, at this rate."""
        self.port = port
        first = len(self.clients)
        for number in range(first, first + count):
            client = FleetClient(self, number, AccountId(f"acc-{number % accounts:05}"))
            self.clients.append(client)
            self.connect_later((number - first) / per_second, client)
        return await self._wait_until_current(time.perf_counter())

    async def disconnect_all(self, port: int) -> dict[str, Any]:
        """Aborts all connections at once. The clients reconnect to the gateway at `port`."""
        self.port, self.rejected = port, 0
        start = time.perf_counter()
        for client in self.clients:
            client.current_at = None
            if client.transport:
                client.transport.abort()
        return await self._wait_until_current(start)

    async def _wait_until_current(self, start: float) -> dict[str, Any]:
        """Waits until every client has its account. Returns the seconds that this took, and counts."""
        deadline = time.perf_counter() + 180
        while waiting := sum(client.current_at is None for client in self.clients):
            if time.perf_counter() > deadline:
                answers = f"{self.rejected} rejections: {self.rejections}, errors: {dict(self.errors)}"
                raise TimeoutError(f"{waiting} clients did not get their account; {answers}")
            await asyncio.sleep(0.1)
        times = sorted(client.current_at - start for client in self.clients if client.current_at)
        return {
            "median": times[len(times) // 2],
            "p95": times[len(times) * 95 // 100],
            "last": times[-1],
            "rejected": self.rejected,
            "gaps": self.gaps,
        }

    async def revisions(self) -> dict[str, list[int]]:
        """Returns the different revisions of the clients of each channel, in order."""
        revisions: dict[str, set[int]] = {}
        for number, client in enumerate(self.clients):
            assert client.position, number
            revisions.setdefault(client.channel, set()).add(client.position.revision)
        return {channel: sorted(values) for channel, values in revisions.items()}


async def main() -> None:
    fleet = ClientFleet()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        method, *arguments = json.decode(line)
        result = await getattr(fleet, method)(*arguments)
        print(json.encode(result).decode(), flush=True)
    fleet.closing = True


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
