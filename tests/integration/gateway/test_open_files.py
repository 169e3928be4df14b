"""A gateway that may open few files refuses clients, and still answers its probes."""

import asyncio
import contextlib
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx

from tests.integration.gateway.bad_input.raw import (
    CRLF,
    HANDSHAKE_HEAD,
    RawConnection,
    message,
)
from tests.integration.gateway.conftest import StartProcess
from tests.tokens import bearer

OPEN_FILES = 200
CLIENTS = 250


async def test_more_clients_than_open_files_are_refused(start_process: StartProcess) -> None:
    gateway = await start_process("gateway-files", open_files=OPEN_FILES, auth_timeout_seconds=60)
    address = urlsplit(gateway.http)
    async with AsyncExitStack() as stack:
        answers = []
        for _ in range(CLIENTS):
            streams = await asyncio.open_connection(address.hostname, address.port)
            connection = await stack.enter_async_context(RawConnection(*streams))
            connection.send(HANDSHAKE_HEAD + CRLF)
            async with asyncio.timeout(30):
                answers.append((await connection.reader.readuntil(b"\r\n"))[9:12])
            if answers[-1] != b"101":
                await connection.__aexit__(None, None, None)
        assert set(answers) == {b"101", b"503"}
        assert answers.count(b"101") == OPEN_FILES // 2
        assert await gateway.status("/livez") == 200
        assert await gateway.status("/readyz") == 200


async def test_connections_without_a_client_leave_files_for_clients_and_probes(
    start_process: StartProcess,
) -> None:
    """No address has a limit here, as if they came from many."""
    gateway = await start_process("gateway-files", open_files=OPEN_FILES, request_head_timeout_seconds=60)
    address = urlsplit(gateway.http)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(await RawConnection.open(gateway.http))
        for _ in range(2 * OPEN_FILES):
            streams = await asyncio.open_connection(address.hostname, address.port)
            await stack.enter_async_context(RawConnection(*streams))
        assert await gateway.status("/livez") == 200
        assert await gateway.status("/readyz") == 200
        assert await gateway.counter("rejected_requests_total", reason="full") > 0
        client.send(message("subscribe", channels=[{"channel": "account:alice"}]))
        await client.until("snapshot")
    async with asyncio.timeout(30), httpx.AsyncClient(base_url=gateway.http, headers=bearer()) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):  # the gateway is still closing the connections
                if (await http.get("/api/v1/accounts")).status_code == 200:
                    break
