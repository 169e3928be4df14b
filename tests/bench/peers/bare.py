"""A relay that only forwards frames: the least that a delivery and a connection can cost in Python.

It decodes messages from Redis, and writes their frames to the clients that have subscribed to the account.
There are no tokens, positions, limits or reads.

Started by `tests.bench.peers`, with LIVEBALANCE_REDIS, LIVEBALANCE_CHANNEL_PREFIX,
LIVEBALANCE_HTTP_HOST and LIVEBALANCE_HTTP_PORT.
"""

import asyncio
import os
from collections import defaultdict
from typing import cast
from urllib.parse import urlsplit

import hiredis
import uvloop
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from livebalance.wire.delta import decode_delta, redis_account_channel
from livebalance.wire.frame import SUBPROTOCOL, Subscribe, decode_client_frame, encode_frame
from livebalance.wire.identity import AccountId, channel_account
from livebalance.wire.websocket_frame import encode_text
from tests.bench.peers.starlette import empty_snapshot

PREFIX = os.environ["LIVEBALANCE_CHANNEL_PREFIX"]

subscribers: dict[AccountId, set[asyncio.Transport]] = defaultdict(set)


class RedisConnection(asyncio.Protocol):
    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send("HELLO", "3")

    def send(self, *command: str) -> None:
        self.transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub allows one word only

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification) and reply[0] == b"message":
                account = AccountId(reply[1].decode().removeprefix(f"{PREFIX}account:"))
                frame = encode_text(decode_delta(account, reply[2]).text)
                for transport in subscribers[account]:
                    transport.write(frame)


class ClientConnection(asyncio.Protocol):
    def __init__(self, redis: RedisConnection) -> None:
        self._redis = redis
        self._protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for transports in subscribers.values():
            transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame):
                self._subscribe(bytes(event.data))
        for chunk in self._protocol.data_to_send():
            self._transport.write(chunk)

    def _subscribe(self, text: bytes) -> None:
        frame = decode_client_frame(text)
        for request in frame.channels if isinstance(frame, Subscribe) else ():
            account = channel_account(request.channel)
            if not subscribers[account]:
                self._redis.send("SUBSCRIBE", redis_account_channel(PREFIX, account))
            subscribers[account].add(self._transport)
            self._transport.write(encode_text(encode_frame(empty_snapshot(request.channel))))


async def main() -> None:
    address, loop = urlsplit(os.environ["LIVEBALANCE_REDIS"]), asyncio.get_running_loop()
    _, redis = await loop.create_connection(
        RedisConnection, address.hostname or "127.0.0.1", address.port or 6379
    )
    host, port = os.environ["LIVEBALANCE_HTTP_HOST"], int(os.environ["LIVEBALANCE_HTTP_PORT"])
    server = await loop.create_server(lambda: ClientConnection(redis), host, port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
