"""Sends single commands to Redis nodes, and reads the slot map of a cluster."""

import asyncio
from collections.abc import Iterable
from typing import Any

import hiredis

from livebalance.runtime.redis.cluster_slots import ClusterSlots
from livebalance.runtime.redis.url import RedisNode, RedisUrl

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
UNAVAILABLE = (
    OSError,
    TimeoutError,
    EOFError,
    hiredis.HiredisError,
)  # a node is unreachable or rejects a command
_NODE_TIMEOUT_SECONDS = 1.0


async def open_connection(redis: RedisUrl, node: RedisNode) -> Streams:
    """Opens a connection, logs in, and waits for the first reply. Raises an error of UNAVAILABLE."""
    reader, writer = await asyncio.open_connection(*node, ssl=redis.tls or None)
    try:
        writer.write(pack_command("AUTH", *redis.login) if redis.login else pack_command("PING"))
        _single_reply(await read_replies(reader, 1))
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def read_replies(reader: asyncio.StreamReader, count: int) -> list[Any]:
    """Reads at least `count` replies. An error reply is an item of the list, not an exception.

    Raises:
        EOFError: Redis closed the connection.
    """
    parser, replies = hiredis.Reader(), list[Any]()
    while len(replies) < count:
        chunk = await reader.read(65536)
        if not chunk:
            raise EOFError("redis closed the connection")
        parser.feed(chunk)
        while (reply := parser.gets()) is not False:
            replies.append(reply)
    return replies


async def execute(redis: RedisUrl, node: RedisNode, *command: str) -> Any:
    """Executes a command on its own connection and returns the reply. Raises an error of UNAVAILABLE."""
    reader, writer = await open_connection(redis, node)
    try:
        writer.write(pack_command(*command))
        return _single_reply(await read_replies(reader, 1))
    finally:
        writer.transport.abort()


async def read_slots(redis: RedisUrl, nodes: Iterable[RedisNode]) -> ClusterSlots:
    """Returns the slot map of the first node that answers with it. Each node has a second to answer.

    Raises:
        UNAVAILABLE: No node answered with a slot map. The error is the last node's.
    """
    error: Exception = EOFError("no node was asked")
    for node in nodes:
        try:
            async with asyncio.timeout(_NODE_TIMEOUT_SECONDS):
                return await _read_slots(redis, node)
        except UNAVAILABLE as unavailable:
            error = unavailable
    raise error


async def _read_slots(redis: RedisUrl, node: RedisNode) -> ClusterSlots:
    slots = ClusterSlots.from_reply(await execute(redis, node, "CLUSTER", "SLOTS"), node)
    if not slots.nodes:
        raise EOFError("the node belongs to no cluster")
    return slots


def _single_reply(replies: list[Any]) -> Any:
    [reply] = replies
    if isinstance(reply, hiredis.ReplyError):
        raise reply
    return reply


def pack_command(*words: str | bytes) -> bytes:
    """Encodes a command for the wire."""
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub allows a single word
    return command
