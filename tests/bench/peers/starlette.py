"""The usual server to compare with: a Starlette route, `send_text`, and redis-py's pub/sub.

Started by `tests.bench.peers`, with LIVEBALANCE_REDIS, LIVEBALANCE_CHANNEL_PREFIX,
LIVEBALANCE_HTTP_HOST and LIVEBALANCE_HTTP_PORT.
"""

import asyncio
import os
from collections import defaultdict

import jwt
import redis.asyncio
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from livebalance.wire.delta import decode_delta, redis_account_channel
from livebalance.wire.frame import SUBPROTOCOL, Auth, Snapshot, Subscribe, decode_client_frame, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Revision, channel_account
from tests.tokens import AUDIENCE, ISSUER, SECRET

EPOCH = Epoch("00000000000000a1")
PREFIX = os.environ["LIVEBALANCE_CHANNEL_PREFIX"]

subscribers: dict[AccountId, set[WebSocket]] = defaultdict(set)
pubsub = redis.asyncio.from_url(os.environ["LIVEBALANCE_REDIS"]).pubsub()


def empty_snapshot(channel: str) -> Snapshot:
    """Returns a snapshot without content, because the server has no database."""
    return Snapshot(channel, EPOCH, Revision(0), "subscribed", None, [], None, None)


async def serve(socket: WebSocket) -> None:
    await socket.accept(subprotocol=SUBPROTOCOL)
    auth = decode_client_frame(await socket.receive_text())
    assert isinstance(auth, Auth)
    jwt.decode(auth.token, SECRET, ["HS256"], audience=AUDIENCE, issuer=ISSUER)
    frame = decode_client_frame(await socket.receive_text())
    assert isinstance(frame, Subscribe)
    for request in frame.channels:
        account = channel_account(request.channel)
        if not subscribers[account]:
            await pubsub.subscribe(redis_account_channel(PREFIX, account))
        subscribers[account].add(socket)
    await socket.send_text('{"type":"ok","id":1}')
    await socket.send_text(encode_frame(empty_snapshot(frame.channels[0].channel)).decode())
    try:
        await socket.receive_text()
    except WebSocketDisconnect:
        for sockets in subscribers.values():
            sockets.discard(socket)


async def relay() -> None:
    await pubsub.subscribe(f"{PREFIX}nothing")
    async for message in pubsub.listen():
        if message["type"] == "message":
            account = AccountId(message["channel"].decode().removeprefix(f"{PREFIX}account:"))
            text = decode_delta(account, message["data"]).text.decode()
            for socket in list(subscribers[account]):
                await socket.send_text(text)


async def main() -> None:
    app = Starlette(routes=[WebSocketRoute("/ws", serve)])
    host, port = os.environ["LIVEBALANCE_HTTP_HOST"], int(os.environ["LIVEBALANCE_HTTP_PORT"])
    config = uvicorn.Config(
        app, host=host, port=port, ws_per_message_deflate=False, log_level="warning", lifespan="off"
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(relay())
        group.create_task(uvicorn.Server(config).serve())


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
