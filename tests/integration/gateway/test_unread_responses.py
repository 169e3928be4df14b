"""A client that does not read a response to its end loses its connection, and the gateway a file."""

import asyncio
import socket
from pathlib import Path

import pytest

from livebalance.gateway.server.http import HttpProtocol
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, RawConnection, message
from tests.integration.gateway.conftest import StartGateway
from tests.tokens import token

NARROW = 4096  # bytes of the gateway's socket buffer


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (8 * 1024 * 1024, b""),  # the transport's buffer is full, and the response is not complete
        (48 * 1024, b""),  # the response is in the transport's buffer, which is not full
        (48 * 1024, b"Connection: close\r\n"),
    ],
)
async def test_connection_whose_client_does_not_read_on_is_aborted(
    *, protocols: list[HttpProtocol], start_gateway: StartGateway, tmp_path: Path, size: int, header: bytes
) -> None:
    (tmp_path / "file.js").write_bytes(bytes(size))
    gateway = await start_gateway(page_directory=tmp_path, write_timeout_seconds=0.5)
    async with await RawConnection.connect(gateway.http, narrow=True) as connection, asyncio.timeout(20):
        while not protocols:  # noqa: ASYNC110 - a connection has no event
            await asyncio.sleep(0.01)
        raw = protocols[0].transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)
        connection.send(b"GET /file.js HTTP/1.1\r\nHost: here\r\n" + header + CRLF)
        connection.stop_reading()
        while protocols[0] in protocols[0].server_state.connections:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)


async def test_websocket_after_an_unread_response_is_not_aborted(
    protocols: list[HttpProtocol], start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(write_timeout_seconds=0.2, heartbeat_interval_seconds=0.5)
    async with await RawConnection.connect(gateway.http) as connection:
        connection.send(b"GET /api/v1/accounts HTTP/1.1\r\nHost: here\r\n" + CRLF)
        size = (await connection.reader.readuntil(CRLF * 2)).lower().partition(b"content-length: ")[2]
        await connection.reader.readexactly(int(size.partition(CRLF)[0]))
        protocols[0].pause_writing()  # as if the client had not read it
        connection.send(HANDSHAKE_HEAD + CRLF)
        await connection.reader.readuntil(CRLF * 2)
        connection.send(message("auth", token=token()))
        await connection.until("heartbeat")
