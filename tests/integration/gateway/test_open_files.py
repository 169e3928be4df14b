"""A gateway that may open few files refuses clients, and still answers its probes."""

import asyncio
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, RawConnection
from tests.integration.gateway.conftest import StartProcess

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
