"""A user who sends requests on many connections, each as soon as the last is answered.

Started by `tests.bench.greedy_user` and the tests of attacks:
`python -m tests.bench.greedy_client PORT PATH CONNECTIONS`, with the token in GREEDY_TOKEN. It ignores
`Retry-After`. When its stdin ends, it prints how many answers of each status it has got, as JSON.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import uvloop
from msgspec import json

TOKEN = "GREEDY_TOKEN"


class Answer(NamedTuple):
    """A response: status, and headers with names in lower case."""

    status: int
    headers: dict[str, str]


class KeepAliveClient:
    """Sends one request after the other on a connection, which it opens again when it was closed.

    httpx would cost more CPU time than the gateway needs for its answer.
    """

    def __init__(self, port: int, token: str | None) -> None:
        self._port = port
        self._authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str) -> Answer:
        if self._writer is None or self._writer.is_closing():
            self.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{self._authorization}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        await self._reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            self.close()
        return Answer(int(status.split(" ")[1]), headers)

    def close(self) -> None:
        if self._writer:
            self._writer.close()
        self._writer = None


async def send_greedily(port: int, path: str, token: str, answers: Counter[str]) -> None:
    client = KeepAliveClient(port, token)
    while True:
        try:
            answers[str((await client.get(path)).status)] += 1
        except (OSError, asyncio.IncompleteReadError):
            answers["no answer"] += 1
            client.close()
            await asyncio.sleep(0.05)


async def run_until_stdin_ends(port: int, path: str, connections: int) -> None:
    answers = Counter[str]()
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(send_greedily(port, path, os.environ[TOKEN], answers))
            for _ in range(connections)
        ]
        await loop.run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()
    print(json.encode(answers).decode())


@asynccontextmanager
async def greedy_user(port: int, path: str, connections: int, token: str) -> AsyncIterator[Counter[str]]:
    """Runs a greedy user in a process of its own. The counts are filled at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", __name__, str(port), path, str(connections)),
        env={**os.environ, TOKEN: token},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # a scheduling group of its own
    )
    answers = Counter[str]()
    try:
        yield answers
        async with asyncio.timeout(20):
            output, _ = await process.communicate(b"")
        answers.update(json.decode(output))
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(run_until_stdin_ends(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
