"""The servers that are compared, as processes on a core of their own."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from livebalance.stack.paths import free_port
from livebalance.wire.identity import AccountId
from tests.bench.peers.client import Client, Published, centrifugo_client, livebalance_client
from tests.bench.peers.messages import Message, centrifugo_message, livebalance_message
from tests.bench.process_cpu import pin

CENTRIFUGO_MODULE = "github.com/centrifugal/centrifugo/v6"
CENTRIFUGO_VERSION = "v6.9.1"

Environment = Mapping[str, str]


class CpuTime(NamedTuple):
    """CPU seconds of a process."""

    user: float
    kernel: float


@dataclass
class ServerProcess:
    port: int
    operations_port: int  # of a gateway
    process: psutil.Process

    def cpu_time(self) -> CpuTime:
        times = self.process.cpu_times()
        return CpuTime(times.user, times.system)

    def cpu_seconds(self) -> float:
        return sum(self.cpu_time())

    def resident_bytes(self) -> int:
        return int(self.process.memory_info().rss)


class Peer(NamedTuple):
    """A server, and what its clients and its publisher speak."""

    command: Sequence[str]
    client: Callable[[AccountId, Published | None], Client]
    message: Callable[[AccountId, int], Message]


def python_peer(module: str) -> Peer:
    return Peer((sys.executable, "-m", module), livebalance_client, livebalance_message)


def peers(centrifugo: Path | None) -> dict[str, Peer]:
    """Returns the servers by their names in the table. Ratios are to the first.

    The gateway runs twice: both differ by the noise only.
    """
    first = {}
    if centrifugo:
        first["centrifugo"] = Peer((str(centrifugo),), centrifugo_client, centrifugo_message)
    return {
        **first,
        "gateway": python_peer("livebalance.gateway"),
        "gateway again": python_peer("livebalance.gateway"),
        "send_text": python_peer("tests.bench.peers.starlette"),
        "bare": python_peer("tests.bench.peers.bare"),
    }


def build_centrifugo(home: Path) -> Path | None:
    """Builds Centrifugo of the pinned version, and returns its program; None: it cannot be built."""
    target = home / f"centrifugo-{CENTRIFUGO_VERSION}"
    program = target / "centrifugo"
    return program if program.exists() or _install(target) else None


def _install(target: Path) -> bool:
    go = shutil.which("go")
    if go is None:
        print("centrifugo: left out, because there is no Go to build it with")
        return False
    print(f"building centrifugo {CENTRIFUGO_VERSION}, which takes minutes", flush=True)
    environment = {**os.environ, "GOBIN": str(target)}
    status = os.spawnvpe(
        os.P_WAIT, go, [go, "install", f"{CENTRIFUGO_MODULE}@{CENTRIFUGO_VERSION}"], environment
    )
    if status:
        print("centrifugo: left out, because it could not be built")
    return status == 0


def centrifugo_environment(redis: str, host: str, port: int) -> dict[str, str]:
    """Returns the settings of Centrifugo: Redis engine, any client may subscribe, no history."""
    return {
        "CENTRIFUGO_HTTP_SERVER_ADDRESS": host,
        "CENTRIFUGO_HTTP_SERVER_PORT": str(port),
        "CENTRIFUGO_CLIENT_INSECURE": "true",
        "CENTRIFUGO_ENGINE_TYPE": "redis",
        "CENTRIFUGO_ENGINE_REDIS_ADDRESS": redis,
        "CENTRIFUGO_LOG_LEVEL": "error",
        "GOMAXPROCS": "1",
    }


@asynccontextmanager
async def run_server(
    command: Sequence[str] | str,
    environment: Environment,
    core: int | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[ServerProcess]:
    """Runs a command, or a module, as a server process while the block runs, on one core if it is named."""
    port, operations_port = free_port(), free_port()
    address = {
        "LIVEBALANCE_HTTP_HOST": host,
        "LIVEBALANCE_HTTP_PORT": str(port),
        "LIVEBALANCE_OPERATIONS_PORT": str(operations_port),
    }
    words = [sys.executable, "-m", command] if isinstance(command, str) else command
    child = await asyncio.create_subprocess_exec(
        *words,
        env={
            **os.environ,
            **environment,
            **address,
            **centrifugo_environment(environment["LIVEBALANCE_REDIS"], host, port),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        if core is not None:
            pin(child.pid, {core})
        await wait_until_listening(host, port)
        yield ServerProcess(port, operations_port, psutil.Process(child.pid))
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def wait_until_listening(host: str, port: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
