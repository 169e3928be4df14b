"""The connection to a Redis node: its replies, however they are split, and pauses of reading."""

import asyncio
from collections.abc import Callable
from typing import Any

import hiredis
import pytest

from livebalance.gateway.redis.resp3 import FEED_BYTES, Resp3Connection


class Transport:
    """Records what the connection does to its transport."""

    def __init__(self) -> None:
        self.reading, self.closing = True, False
        self.resumed = asyncio.Event()

    def is_reading(self) -> bool:
        return self.reading

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.closing
        self.reading = True
        self.resumed.set()


def ignore(_: object) -> None:
    pass


def connect(on_pushes: Callable[[list[list[Any]]], None] = ignore) -> tuple[Resp3Connection, Any]:
    connection, transport = Resp3Connection(on_pushes, ignore), Transport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport


def push(content: bytes) -> bytes:
    return b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$%d\r\n%b\r\n" % (len(content), content)


@pytest.mark.parametrize("size", [1, 7, 100, FEED_BYTES, FEED_BYTES + 1, 10 * FEED_BYTES])
async def test_pushes_arrive_in_order_however_the_stream_is_split(size: int) -> None:
    contents = [b"%d" % number * (number % 400) for number in range(200)]
    stream = b"".join(map(push, contents))
    received: list[list[Any]] = []
    connection, _ = connect(received.extend)
    for start in range(0, len(stream), size):
        connection.data_received(stream[start : start + size])
    assert [content for _, _, content in received] == contents


async def test_pushes_of_a_read_are_a_batch() -> None:
    batches: list[list[list[Any]]] = []
    connection, _ = connect(batches.append)
    connection.data_received(push(b"x" * FEED_BYTES) * 3)
    assert [len(batch) for batch in batches] == [3]


async def test_first_reply_and_errors_are_not_pushes() -> None:
    errors: list[hiredis.ReplyError] = []
    pushes: list[list[list[Any]]] = []
    connection = Resp3Connection(pushes.append, errors.append)
    connection.data_received(b"+OK\r\n-ERR no\r\n:1\r\n")
    assert not pushes
    assert connection.first_reply.result() == b"OK"
    assert [str(error) for error in errors] == ["ERR no"]


async def test_paused_connection_reads_again_afterwards() -> None:
    connection, transport = connect()
    connection.pause(0.001)
    connection.pause(3600.0)  # does not prolong the pause
    assert not transport.is_reading()
    await transport.resumed.wait()
    assert transport.is_reading()


async def test_connection_that_was_closed_during_a_pause_stays_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers: list[Any] = []
    monkeypatch.setattr(
        asyncio.get_running_loop(), "call_later", lambda _, resume: timers.append(resume), raising=False
    )
    connection, transport = connect()
    connection.pause(1.0)
    transport.closing = True
    [resume] = timers
    resume()
    assert not transport.is_reading()
