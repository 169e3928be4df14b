"""10,000 clients are disconnected at once, twice: cost for Postgres, and for clients that stay connected.

`python -m tests.bench.reconnect_storm [--clients 10000] [--accounts 1000] [--rate 250]`

Two gateways with production settings. All the time, rows are written to a real Postgres and published to a
real Redis. First the network drops all connections, and the clients reconnect to the same gateway. Then this
gateway is killed, and they reconnect to the other gateway, which has no history for them.

A hundred clients of another process stay connected to the other gateway, and a hundred to the first gateway
until it is killed. "usual" is their delay before, measured twice: the difference is noise.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
from msgspec import json

from livebalance.stack.servers.servers import Servers
from livebalance.wire.delta import Delta
from livebalance.wire.frame import DeltaFrame, decode_server_frame
from livebalance.wire.identity import AccountId, channel_account, channel_name
from tests.bench import client_fleet
from tests.bench.bench_servers import run_on_servers
from tests.bench.client_fleet import ClientFleet, FleetClient
from tests.bench.peers.servers import ServerProcess, run_server
from tests.integration.gateway.fake_projector import FakeProjector
from tests.servers.database import Database
from tests.tokens import SECRET

PREFIX = "storm:"
OBSERVERS = 100  # clients at each gateway that stay connected
UPDATES_PER_SECOND = 100
USUAL_PERIOD = 10.0  # seconds


class FleetProcess:
    """Calls methods of the ClientFleet in another process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def call(self, method: str, *arguments: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.encode([method, *arguments]) + b"\n")
        line = await self._process.stdout.readline()
        assert line, "the process of the clients has ended"
        return json.decode(line)


@asynccontextmanager
async def run_fleet() -> AsyncIterator[FleetProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", client_fleet.__name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    try:
        yield FleetProcess(process)
    finally:
        process.kill()
        await process.wait()


@dataclass
class DeltaDelays:
    """Times in ms from the publishing of a delta until an observer has read it."""

    published_at: dict[tuple[str, int], float] = field(default_factory=dict)  # by account and revision
    delays: list[float] = field(default_factory=list)

    def take_p99(self) -> float:
        """Returns the 99th percentile since the last call."""
        delays, self.delays = sorted(self.delays), []
        return delays[len(delays) * 99 // 100]


class TimedProjector(FakeProjector):
    delays: DeltaDelays

    async def publish(self, account: str, delta: Delta) -> None:
        self.delays.published_at[account, delta.to] = time.perf_counter()
        await super().publish(account, delta)


class Observer(FleetClient):
    """A client that stays connected, and measures the delay of each delta."""

    delays: DeltaDelays

    def _handle_frame(self, opcode: int, text: bytes) -> None:
        if opcode != 1:
            super()._handle_frame(opcode, text)
        elif isinstance(frame := decode_server_frame(text), DeltaFrame):
            now = time.perf_counter()
            if published_at := self.delays.published_at.get((channel_account(frame.channel), frame.to)):
                self.delays.delays.append((now - published_at) * 1000)


async def read_counter(server: ServerProcess, counter: str) -> int:
    """Returns the value of a counter of a gateway, 0 if it has none yet."""
    async with httpx.AsyncClient() as http:
        text = (await http.get(f"http://127.0.0.1:{server.operations_port}/metrics")).text
    match = re.search(rf"^livebalance_gateway_{counter}_total(?:{{.*}})? ([0-9.e+]+)$", text, re.M)
    return int(float(match[1])) if match else 0


async def write_transfers(projector: FakeProjector, accounts: list[AccountId], done: asyncio.Event) -> None:
    """Writes transfers for all accounts in turn until `done` is set."""
    start, number = time.perf_counter(), 0
    while not done.is_set():
        await projector.transfer(accounts[number % len(accounts)], 125)
        number += 1
        await asyncio.sleep(max(start + number / UPDATES_PER_SECOND - time.perf_counter(), 0))


async def measure_usual_p99(delays: DeltaDelays) -> float:
    delays.delays.clear()
    await asyncio.sleep(USUAL_PERIOD)
    return delays.take_p99()


async def assert_current(fleet: FleetProcess, database: Database) -> None:
    """Asserts that every client soon is at the revision of Postgres."""
    connection = await asyncpg.connect(database.url("owner"))
    expected = {
        channel_name(row["account_id"]): [row["revision"]]
        for row in await connection.fetch("select account_id, revision from balance")
    }
    await connection.close()
    async with asyncio.timeout(15):
        while await fleet.call("revisions") != expected:  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(0.5)


async def benchmark(servers: Servers, clients: int, account_count: int, rate: float) -> None:
    database = Database(servers.postgres, "storm")
    await database.create()
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_CHANNEL_PREFIX": PREFIX,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
    accounts = [AccountId(f"acc-{number:05}") for number in range(account_count)]
    delays = DeltaDelays()
    async with TimedProjector(database.url("owner"), servers.redis(), PREFIX) as projector:
        projector.delays = delays
        await projector.open(*accounts)
        async with (
            run_server("livebalance.gateway", environment) as second,
            run_server("livebalance.gateway", environment) as first,
            run_fleet() as fleet,
        ):
            observers = [
                await connect_observers(second, delays, accounts),
                await connect_observers(first, delays, accounts),
            ]
            result = await fleet.call("connect", first.port, clients, account_count, rate)
            print(f"{clients:,} clients connected: {result}")
            done = asyncio.Event()
            writer = asyncio.create_task(write_transfers(projector, accounts, done))
            usual = [await measure_usual_p99(delays), await measure_usual_p99(delays)]
            print(f"usual p99 ms of connected clients: {usual[0]:.1f}, again {usual[1]:.1f}\n")
            for name, server in (("network cut", first), ("gateway killed", second)):
                statements = await read_counter(server, "read_statements")
                recoveries = await read_counter(server, "history_recoveries")
                if server is second:
                    observers[1].closing = True
                    first.process.kill()
                delays.delays.clear()
                cpu = server.cpu_seconds()
                result = await fleet.call("disconnect_all", server.port)
                cpu = (server.cpu_seconds() - cpu) / clients * 1e6
                statements = await read_counter(server, "read_statements") - statements
                recoveries = await read_counter(server, "history_recoveries") - recoveries
                print(f"{name}: {result}")
                print(f"  CPU µs of the gateway per client: {cpu:.0f}")
                print(f"  statements that read accounts: {statements}")
                print(f"  clients that needed no statement: {recoveries}")
                print(f"  p99 ms of connected clients: {delays.take_p99():.1f}", flush=True)
            done.set()
            await writer
            await assert_current(fleet, database)
            observers[0].closing = True
    print("\nevery client is at the revision of Postgres")


async def connect_observers(
    server: ServerProcess, delays: DeltaDelays, accounts: list[AccountId]
) -> ClientFleet:
    """Connects observers in this process, because delays need a single clock."""
    fleet = ClientFleet()
    fleet.port = server.port
    for number in range(OBSERVERS):
        observer = Observer(fleet, 900_000 + number, accounts[number])
        observer.delays = delays
        fleet.clients.append(observer)
        await observer.connect()
    return fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--accounts", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=250.0, help="first connections per second (250)")
    arguments = parser.parse_args()
    run_on_servers(lambda servers: benchmark(servers, arguments.clients, arguments.accounts, arguments.rate))


if __name__ == "__main__":
    main()
