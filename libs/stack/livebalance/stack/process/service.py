"""The services of a cluster: how they start, and whether they are ready."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from livebalance.runtime.process import ready
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess

_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """A process of `python -m livebalance.<kind>`."""

    kind: str
    number: int
    port: int  # serves /readyz
    child: ChildProcess

    @property
    def name(self) -> str:
        """The name of the process, such as gateway-1."""
        return f"{self.kind}-{self.number}"

    async def is_ready(self) -> bool:
        """Tells whether /readyz answers 200, apart from what waits for an operator."""
        return await responds(self.port, f"{ready.PATH}?exclude=halted")


def create_service(
    paths: StatePaths, kind: str, number: int, environment: Mapping[str, str], arguments: list[str]
) -> Service:
    """Returns a service that is not started yet, with a free port."""
    name, port = f"{kind}-{number}", free_port()
    child = ChildProcess(
        name=name,
        command=[sys.executable, "-m", f"livebalance.{kind}", *arguments],
        log=paths.log(name),
        environment={
            **os.environ,
            "LIVEBALANCE_NAME": name,
            "LIVEBALANCE_HTTP_PORT": str(port),
            **environment,
        },
    )
    return Service(kind, number, port, child)


async def responds(port: int, path: str) -> bool:
    """Tells whether the server on this loopback port answers a GET with 200."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
                )
                status = await reader.readline()
            finally:
                writer.close()
    except OSError:  # includes TimeoutError
        return False
    return b" 200 " in status
