"""What `livebalance status` shows of something that is no gateway."""

import asyncio

import pytest

from livebalance.cli.inspection.gateways import read_gateways


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("", b"livebalance_gateway_sessions NaN\n"),
        ("", b"livebalance_gateway_sessions 1e999\n"),
        ("", b"livebalance_gateway_sessions 1.2.3\n"),
        ("Content-Encoding: gzip\r\n", b"garbage"),
    ],
)
async def test_odd_answer_is_a_problem_of_that_gateway(head: str, body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(f"HTTP/1.1 200 OK\r\n{head}{length}".encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        [status] = await read_gateways([url])
    assert (status.ready, status.sessions) == (False, None)
    assert status.problem


async def test_address_that_is_none_is_a_problem_of_that_gateway() -> None:
    for status in await read_gateways(["http://127.0.0.1:99999", "http://[::1", "ftp://x"]):
        assert not status.ready
        assert status.problem
