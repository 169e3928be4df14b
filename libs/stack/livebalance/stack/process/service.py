"""The services of a cluster: how each is started, and whether it is ready."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from livebalance.runtime.process import ready
from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess

_SECONDS = 2.0  # for one answer


@dataclass(frozen=True)
class Service:
    """One process of `python -m livebalance.<kind>`."""

    kind: str
    number: int
    port: int  # where it answers /readyz
    child: ChildProcess

    @property
    def name(self) -> str:
        """Its name, as in gateway-1."""
        return f"{self.kind}-{self.number}"

    async def is_ready(self) -> bool:
        """Whether /readyz answers 200 now."""
        return await answers(self.port, ready.PATH)


def service(
    place: StatePaths, kind: str, number: int, environment: Mapping[str, str], arguments: list[str]
) -> Service:
    """A service that is not started yet, on a port of its own."""
    name, port = f"{kind}-{number}", free_port()
    child = ChildProcess(
        name=name,
        command=[sys.executable, "-m", f"livebalance.{kind}", *arguments],
        log=place.log(name),
        environment={
            **os.environ,
            "LIVEBALANCE_NAME": name,
            "LIVEBALANCE_HTTP_PORT": str(port),
            **environment,
        },
    )
    return Service(kind, number, port, child)


async def answers(port: int, path: str) -> bool:
    """Whether the server on a port of loopback answers 200 to a GET."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
                )
                status = await reader.readline()
            finally:
                writer.close()
    except OSError:  # TimeoutError is one
        return False
    return b" 200 " in status
