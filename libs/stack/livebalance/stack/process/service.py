"""The services of a cluster: how they start, and whether they are ready."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess

_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Service:
    """A process of `python -m livebalance.<kind>`."""

    kind: str
    number: int
    host: str
    port: int
    operations_port: int  # serves /readyz and /metrics; of a gateway, not the port of its clients
    child: ChildProcess

    @property
    def http(self) -> str:
        """URL of the service for clients."""
        return f"http://{self.host}:{self.port}"

    @property
    def operations(self) -> str:
        """URL of the service for operators, with /readyz and /metrics."""
        return f"http://{self.host}:{self.operations_port}"

    @property
    def name(self) -> str:
        """The name of the process, such as gateway-1."""
        return f"{self.kind}-{self.number}"

    async def is_ready(self) -> bool:
        """Tells whether /readyz answers 200, apart from what waits for an operator."""
        # A gateway of a release without an operations port answers at its other port.
        ports = dict.fromkeys((self.operations_port, self.port))
        return any([await responds(port, "/readyz?exclude=halted", self.host) for port in ports])


def create_service(
    paths: StatePaths,
    kind: str,
    number: int,
    environment: Mapping[str, str],
    arguments: list[str],
    *,
    gateways_port: int | None = None,
) -> Service:
    """Returns a service that is not started yet, with a free port.

    Caddy asks all gateways at the same operations port, `gateways_port`. So each gateway has a loopback
    address of its own.
    """
    name, port = f"{kind}-{number}", free_port()
    host, operations_port = "127.0.0.1", port
    if kind == "gateway":
        host, operations_port = f"127.0.0.{number}", gateways_port or free_port()
        environment = {"LIVEBALANCE_OPERATIONS_PORT": str(operations_port), **environment}
    child = ChildProcess(
        name=name,
        command=[sys.executable, "-m", f"livebalance.{kind}", *arguments],
        log=paths.log(name),
        environment={
            **os.environ,
            "LIVEBALANCE_NAME": name,
            "LIVEBALANCE_HTTP_HOST": host,
            "LIVEBALANCE_HTTP_PORT": str(port),
            **environment,
        },
    )
    return Service(kind, number, host, port, operations_port, child)


async def responds(port: int, path: str, host: str = "127.0.0.1") -> bool:
    """Tells whether the server on this loopback port answers a GET with 200."""
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
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
