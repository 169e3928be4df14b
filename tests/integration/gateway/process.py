"""Gateways in processes of their own, for tests that stop them, pause them or kill them."""

import asyncio
import signal
import sys
from pathlib import Path

import httpx

from livebalance.stack.process.process import ChildProcess, bare_environment
from tests.integration.gateway.bad_input.raw import talk


class Process:
    """A gateway; `environment` are its settings beside its name and its port."""

    def __init__(self, name: str, port: int, log: Path, environment: dict[str, str]) -> None:
        self.http = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/ws"
        self.port = port
        settings = {"LIVEBALANCE_NAME": name, "LIVEBALANCE_HTTP_PORT": str(port)}
        self.child = ChildProcess(
            name=name,
            command=[sys.executable, "-m", "livebalance.gateway"],
            log=log,
            environment={**bare_environment(), **settings, **environment},
        )

    async def start(self) -> None:
        """Ready when it returns."""
        self.child.start()
        async with asyncio.timeout(20), httpx.AsyncClient() as client:
            while True:
                assert self.child.pid, self.child.tail()
                try:
                    if (await client.get(f"{self.http}/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)

    async def exited(self, within: float) -> int | None:
        """Its exit code, once it has ended by itself."""
        async with asyncio.timeout(within):
            while self.child.pid:  # noqa: ASYNC110 - a process tells nobody
                await asyncio.sleep(0.02)
        return self.child.exit_code

    def end(self) -> None:
        self.child.send(signal.SIGCONT)
        self.child.kill()

    async def status(self, path: str) -> int:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        return (await talk(self.http, request)).status

    async def counted(self, name: str, **labels: str) -> float:
        """What /metrics shows of it; 0 if it is not there."""
        async with httpx.AsyncClient(timeout=10) as client:
            text = (await client.get(f"{self.http}/metrics")).text
        told = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
        series = f"livebalance_gateway_{name}" + (f"{{{told}}} " if told else " ")
        return float(text.partition(f"\n{series}")[2].partition("\n")[0] or 0)
