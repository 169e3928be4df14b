"""Clients of both protocols, which count deliveries, and check that the revisions of some of them chain."""

import asyncio
import re
import time
from typing import cast

from livebalance.wire.frame import Auth, ChannelRequest, Subscribe, encode_frame
from livebalance.wire.identity import AccountId, channel_name
from tests.bench.peers.messages import BASE
from tests.tokens import token

CHECKED_EVERY = 16  # clients; to parse each frame of all would take more than the servers need
DELTA = b'"type":"delta"'
POSITIONS = re.compile(rb'"from":(\d{10}),"to":(\d{10})')
LONGEST = 64  # bytes of a match, which two reads may share


def websocket_request(path: str, subprotocol: str | None) -> bytes:
    """Returns the request that opens a WebSocket."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return "\r\n".join([*lines, "\r\n"]).encode()


def client_frame(text: bytes) -> bytes:
    """Returns a WebSocket text frame of a client. Its mask is zero, which leaves the text as it is."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


# When each revision of an account was published, in seconds of `time.perf_counter`.
Published = dict[int, float]


class Client(asyncio.Protocol):
    """Subscribes to an account, and then counts what it receives."""

    def __init__(
        self, request: bytes, first_frames: bytes, answer: bytes, published: Published | None
    ) -> None:
        """Creates a client, which is subscribed once it has received `answer`.

        With `published` it parses each delta, and checks that they chain.
        """
        self._request, self._first_frames, self._published = request, first_frames, published
        self._answer, self._answers = answer, b""
        self.subscribed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()  # False: refused
        self._tail = b""
        self.received = 0  # bytes
        self.deliveries = 0
        self.revision = BASE  # that it has reached, if it checks the chain
        self.breaks = 0  # of the chain
        self.delays: list[float] = []  # seconds
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.subscribed.done():
            self.subscribed.set_result(False)

    def data_received(self, data: bytes) -> None:
        if not self.received:
            self.transport.write(self._first_frames)
        self.received += len(data)
        if not self.subscribed.done():
            self._answers += data
            if self._answer in self._answers:
                self.subscribed.set_result(True)
        if self._published is None:
            self._count(data)
        else:
            self._check(data, self._published)

    def _count(self, data: bytes) -> None:
        text = self._tail + data
        self.deliveries += text.count(DELTA)
        self._tail = text[-len(DELTA) + 1 :]

    def _check(self, data: bytes, published: Published) -> None:
        text, now, end = self._tail + data, time.perf_counter(), 0
        for match in POSITIONS.finditer(text):
            before, after = int(match[1]), int(match[2])
            self.breaks += before != self.revision
            self.deliveries += 1
            self.revision, end = after, match.end()
            self.delays.append(now - published[after])
        self._tail = text[max(end, len(text) - LONGEST) :]


def livebalance_client(account: AccountId, published: Published | None) -> Client:
    """Returns a client that authenticates with a token, and gets a snapshot."""
    subscribe = encode_frame(Subscribe(1, [ChannelRequest(channel_name(account))]))
    first = client_frame(encode_frame(Auth(token()))) + client_frame(subscribe)
    return Client(websocket_request("/ws", "livebalance.v1"), first, b'"type":"snapshot"', published)


def centrifugo_client(account: AccountId, published: Published | None) -> Client:
    """Returns a client of Centrifugo's JSON protocol, without a token."""
    first = b'{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"%s"}}' % account.encode()
    request = websocket_request("/connection/websocket", None)
    return Client(request, client_frame(first), b'"subscribe":', published)
