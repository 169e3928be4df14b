"""Requests whose end is disputed: a message ends with its last byte, whatever is answered before."""

import asyncio

import pytest

from livebalance.gateway.server.http import MAX_PIPELINED
from tests.integration.gateway.bad_input.conftest import Scene
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD

FORGED = HANDSHAKE_HEAD + b"X-Forwarded-For: 198.51.100.66\r\n" + CRLF
HEAD = b"GET /api/v1/accounts HTTP/1.1\r\nHost: here\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("method", [b"POST", b"DELETE", b"GET"])
async def test_row_39_body_that_follows_an_early_answer_is_not_a_handshake(
    scene: Scene, method: bytes
) -> None:
    async with await scene.connect() as connection:
        connection.send(
            method + b" /api/v1/accounts HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n" % len(FORGED)
        )
        answer = await connection.reader.readuntil(b"\r\n\r\n")
        connection.send(FORGED)
        rest = await connection.read_all()
    assert answer.split(b" ")[1] in (b"405", b"413")
    assert b"\r\nconnection: close\r\n" in answer
    assert b"\r\ncontent-length: " not in rest
    reason = "method" if method in (b"POST", b"DELETE") else "body"
    await scene.assert_logged("request rejected", reason=reason, status=405 if reason == "method" else 413)


async def test_row_39_sender_of_a_body_is_disconnected_although_it_reads_nothing(scene: Scene) -> None:
    async with await scene.connect() as connection:
        connection.send(HEAD + b"Content-Length: 100000000\r\n\r\n")
        await connection.reader.readuntil(b"\r\n\r\n")
        connection.send(b"x" * 50_000_000)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(connection.writer.drain(), 30)


async def test_row_41_requests_that_are_sent_long_before_their_turn_are_not_served(scene: Scene) -> None:
    async with await scene.connect() as connection:
        connection.send((HEAD + CRLF) * 400)
        answers = await connection.read_all()
    assert answers.count(b"HTTP/1.1 401 ") == 1 + MAX_PIPELINED
    scene.assert_log(lines=2 + MAX_PIPELINED)  # one says that the next was rejected


AMBIGUOUS = [
    HEAD + b"Content-Length: 5\r\n" + CHUNKED + CRLF,
    HEAD + CHUNKED + b"Content-Length: 5\r\n\r\n",
    HEAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    HEAD + b"Content-Length: 0, 0\r\n\r\n",
    HEAD + b"Content-Length: +1\r\n\r\n",
    HEAD + b"Content-Length: -1\r\n\r\n",
    HEAD + b"Content-Length: 18446744073709551616\r\n\r\n",
    HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    HEAD + b"Transfer-Encoding: identity\r\n\r\n",
    HEAD + CHUNKED + CHUNKED + CRLF,
    HEAD.replace(b"1.1", b"1.0") + CHUNKED + CRLF,
    HEAD + b"X: a\r\n " + CHUNKED + CRLF,
    HEAD + b"Transfer-Encoding : chunked\r\n\r\n",
    HEAD + b"X: a\r" + CHUNKED + CRLF,
    HEAD + b"X: a\n" + CHUNKED + CRLF,
    HEAD.replace(b"HTTP/1.1", b"HTTP/2.0") + CRLF,
]


async def test_row_40_request_with_an_ambiguous_end_gets_400_and_is_the_last(scene: Scene) -> None:
    for request in AMBIGUOUS:
        async with await scene.connect() as connection:
            connection.send(request + FORGED)
            answer = await connection.read_all()
        assert answer.startswith(b"HTTP/1.1 400 "), request
        assert answer.count(b"\r\ncontent-length: ") == 1, request
        await scene.assert_logged("request rejected", reason="bad_request", status=400)
