"""The least that a delivery and a connection can cost here: no promise is kept, a frame is only passed on.

What Redis brought is decoded and written to whoever once asked for its account; there are no tokens,
positions, bounds or reads. This much no gateway in Python spares.
Started by `tests.bench.fanout`, with LIVEBALANCE_REDIS, LIVEBALANCE_CHANNEL_PREFIX and LIVEBALANCE_HTTP_PORT.
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
from tests.bench.fanout_starlette import nothing

PREFIX = os.environ["LIVEBALANCE_CHANNEL_PREFIX"]

followers: dict[AccountId, set[asyncio.Transport]] = defaultdict(set)


class Redis(asyncio.Protocol):
    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.send("HELLO", "3")

    def send(self, *command: str) -> None:
        self.transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub: one word

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.PushNotification) and reply[0] == b"message":
                account = AccountId(reply[1].decode().removeprefix(f"{PREFIX}account:"))
                frame = encode_text(decode_delta(account, reply[2]).text)
                for transport in followers[account]:
                    transport.write(frame)


class Client(asyncio.Protocol):
    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._protocol = ServerProtocol(subprotocols=[Subprotocol(SUBPROTOCOL)])
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for transports in followers.values():
            transports.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame):
                self._follow(bytes(event.data))
        for data_ in self._protocol.data_to_send():
            self._transport.write(data_)

    def _follow(self, text: bytes) -> None:
        frame = decode_client_frame(text)
        for one in frame.channels if isinstance(frame, Subscribe) else ():
            account = channel_account(one.channel)
            if not followers[account]:
                self._redis.send("SUBSCRIBE", redis_account_channel(PREFIX, account))
            followers[account].add(self._transport)
            self._transport.write(encode_text(encode_frame(nothing(one.channel))))


async def main() -> None:
    at, loop = urlsplit(os.environ["LIVEBALANCE_REDIS"]), asyncio.get_running_loop()
    _, redis = await loop.create_connection(Redis, at.hostname or "127.0.0.1", at.port or 6379)
    port = int(os.environ["LIVEBALANCE_HTTP_PORT"])
    server = await loop.create_server(lambda: Client(redis), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
