"""Servers of Redis, asked: a connection that answers, and who owns which slots of a cluster."""

import asyncio
from collections.abc import Iterable
from typing import Any

import hiredis

from livebalance.runtime.redis.cluster_slots import ClusterSlots
from livebalance.runtime.redis.url import RedisNode, RedisUrl

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
AWAY = (OSError, TimeoutError, EOFError, hiredis.HiredisError)  # a server cannot be asked, or refuses
_SECONDS = 1.0  # for one node


async def opened(redis: RedisUrl, node: RedisNode) -> Streams:
    """A connection that has answered. Raises AWAY."""
    reader, writer = await asyncio.open_connection(*node, ssl=redis.tls or None)
    try:
        writer.write(packed("AUTH", *redis.login) if redis.login else packed("PING"))
        _taken(await answers(reader, 1))
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def answers(reader: asyncio.StreamReader, count: int) -> list[Any]:
    """As many, errors among them. Raises EOFError."""
    parser, found = hiredis.Reader(), list[Any]()
    while len(found) < count:
        chunk = await reader.read(65536)
        if not chunk:
            raise EOFError("redis closed the connection")
        parser.feed(chunk)
        while (answer := parser.gets()) is not False:
            found.append(answer)
    return found


async def ask(redis: RedisUrl, node: RedisNode, *command: str) -> Any:
    """The answer to one command, by a connection of its own. Raises AWAY."""
    reader, writer = await opened(redis, node)
    try:
        writer.write(packed(*command))
        return _taken(await answers(reader, 1))
    finally:
        writer.transport.abort()


async def read_slots(redis: RedisUrl, nodes: Iterable[RedisNode]) -> ClusterSlots:
    """As the first of `nodes` that knows says; it takes a second for each. Raises AWAY: none does."""
    why: Exception = EOFError("no node was asked")
    for node in nodes:
        try:
            async with asyncio.timeout(_SECONDS):
                return await _slots(redis, node)
        except AWAY as reason:
            why = reason
    raise why


async def _slots(redis: RedisUrl, node: RedisNode) -> ClusterSlots:
    slots = ClusterSlots.of(await ask(redis, node, "CLUSTER", "SLOTS"), node)
    if not slots.nodes:
        raise EOFError("the node belongs to no cluster")
    return slots


def _taken(found: list[Any]) -> Any:
    [answer] = found
    if isinstance(answer, hiredis.ReplyError):
        raise answer
    return answer


def packed(*words: str | bytes) -> bytes:
    command: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub allows one word only
    return command
