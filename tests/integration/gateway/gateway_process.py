"""A gateway in its own process, for tests that stop, pause or kill it."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx

from livebalance.stack.paths import free_port
from livebalance.stack.process.process import ChildProcess, bare_environment
from tests.integration.gateway.bad_input.raw import send_request

LONG_PAUSE = 60.0  # seconds

# Runs `python -m livebalance.gateway`, but the machine may pause it for so long. It has no setting for it.
_FORGIVING = """
import runpy
from livebalance.gateway.auth import gate
gate.MAX_PAUSE = {}
runpy.run_module("livebalance.gateway", run_name="__main__")
"""


def _limited(open_files: int | None) -> list[str]:
    return ["sh", "-c", f'ulimit -n {open_files} && exec "$@"', "sh"] if open_files else []


def _gateway(max_pause: float | None) -> list[str]:
    if max_pause is None:
        return [sys.executable, "-m", "livebalance.gateway"]
    return [sys.executable, "-c", _FORGIVING.format(max_pause)]


class GatewayProcess:
    """A gateway. `environment` has its settings except name and port. It may open so many files.

    After a pause of more than `max_pause` seconds it withholds data until it has read the revocations. A
    busy machine pauses it for more than production's 2 s, which None leaves to a test of such a pause.
    """

    def __init__(  # noqa: PLR0917 - as many as there are properties
        self,
        name: str,
        port: int,
        log: Path,
        environment: dict[str, str],
        open_files: int | None = None,
        max_pause: float | None = LONG_PAUSE,
    ) -> None:
        host = environment.get("LIVEBALANCE_HTTP_HOST", "127.0.0.1")
        self.http = f"http://{host}:{port}"
        self.ws = f"ws://{host}:{port}/ws"
        self.port = port
        operations_port = environment.get("LIVEBALANCE_OPERATIONS_PORT") or free_port()
        self.operations = f"http://{host}:{operations_port}"
        settings = {
            "LIVEBALANCE_NAME": name,
            "LIVEBALANCE_HTTP_PORT": str(port),
            "LIVEBALANCE_OPERATIONS_PORT": str(operations_port),
        }
        self.child = ChildProcess(
            name=name,
            command=[*_limited(open_files), *_gateway(max_pause)],
            log=log,
            environment={**bare_environment(), **settings, **environment},
        )

    async def start(self) -> None:
        """Starts the process, and waits until it is ready."""
        self.child.start()
        async with asyncio.timeout(30), httpx.AsyncClient(timeout=30) as client:
            while True:
                assert self.child.pid, self.child.tail()
                try:
                    if (await client.get(f"{self.operations}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)

    async def exited(self, within: float) -> int | None:
        """Waits until the process has ended by itself, and returns its exit code."""
        async with asyncio.timeout(within):
            while self.child.pid:  # noqa: ASYNC110 - a process has no event for its end
                await asyncio.sleep(0.02)
        return self.child.exit_code

    def end(self) -> None:
        self.child.send(signal.SIGCONT)
        self.child.kill()

    async def status(self, path: str) -> int:
        """Returns the status of a GET at the operations port."""
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        return (await send_request(self.operations, request)).status

    async def counter(self, name: str, **labels: str) -> float:
        """Returns the value of a series in /metrics, or 0."""
        async with httpx.AsyncClient(timeout=30) as client:
            text = (await client.get(f"{self.operations}/metrics")).text
        selector = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        series = f"livebalance_gateway_{name}" + (f"{{{selector}}} " if selector else " ")
        return float(text.partition(f"\n{series}")[2].partition("\n")[0] or 0)
