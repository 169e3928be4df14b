"""CPU time of a server per delivered update: the gateway, beside Starlette and beside a bare relay.

`python -m tests.bench.fanout [--sessions 500] [--seconds 5]`

This process publishes deltas to a real Redis, and counts the bytes that each session receives from the
server. In the scenario "own" each session subscribes to another account, in "hot" all to the same account.

`arrived` is the share of deliveries that arrived at the rate of the scenario: a slow server delivers fewer.
`idle KiB` and `connect µs` are the server's memory and CPU time per session. `ratio` compares the CPU time
per delivery with "send_text", which is Starlette with redis-py. "bare" forwards frames and gives no
guarantees, so no gateway in Python can cost less.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import hiredis
import psutil

from livebalance.stack.paths import free_port
from livebalance.stack.servers.servers import Servers
from livebalance.wire.delta import Delta, DeltaParts, encode_delta, make_delta, redis_account_channel
from livebalance.wire.frame import Auth, ChannelRequest, Subscribe, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision, TransferId, channel_name
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.bench.bench_servers import run_on_servers
from tests.servers.database import Database
from tests.tokens import SECRET, token

EPOCH = Epoch("00000000000000a1")
# First revision of every account. All revisions have as many digits, so all frames have the same length.
BASE = 1_000_000_000
PREFIX = "fanout:"
SCENARIOS = [("own", 4_000), ("own", 16_000), ("hot", 10_000), ("hot", 80_000)]
# Modules by their names in the table. Ratios are to the first.
SERVERS = {
    "send_text": "tests.bench.fanout_starlette",
    "gateway": "livebalance.gateway",
    "bare": "tests.bench.fanout_bare",
}
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: livebalance.v1\r\n\r\n"
)


def account_id(number: int) -> AccountId:
    return AccountId(f"acc-{number:05}")


def example_delta(account: AccountId, revision: int) -> Delta:
    """Returns a delta with a transfer and its balance, of about 259 bytes like a typical delta."""
    at = "2026-11-24T17:20:00.000Z"
    transfer = TransferView(
        TransferId("t-12345-c"), "12.50", "112.50", at, Revision(revision + 1), "transfers/3@1234567"
    )
    balance = BalanceView(
        "1112.50",
        "EUR",
        12345,
        Revision(revision + 2),
        transfer.id,
        "client-1",
        "1000.00",
        "0.00",
        "0.00",
        None,
    )
    parts = DeltaParts(
        EPOCH,
        Revision(revision),
        Revision(revision + 2),
        Millis(1_795_000_000_000),
        balance_json(balance),
        transfers_json([transfer]),
    )
    return make_delta(account, Lane(0), parts)


FRAME_BYTES = len(example_delta(account_id(0), BASE).text) + 4


def client_frame(text: bytes) -> bytes:
    """Returns a WebSocket text frame of a client. Its mask is zero, which leaves the text as it is."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


class Session(asyncio.Protocol):
    """A client that subscribes to an account, and then counts received bytes."""

    def __init__(self, account: AccountId) -> None:
        subscribe = encode_frame(Subscribe(1, [ChannelRequest(channel_name(account))]))
        self._first_frames = client_frame(encode_frame(Auth(token()))) + client_frame(subscribe)
        self.received = 0
        self.transport: asyncio.Transport

    async def connect(self, port: int) -> None:
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        if not self.received:
            self.transport.write(self._first_frames)
        self.received += len(data)


@dataclass
class ServerProcess:
    port: int
    operations_port: int  # of a gateway
    process: psutil.Process

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        return int(self.process.memory_info().rss)


@asynccontextmanager
async def run_server(module: str, environment: dict[str, str]) -> AsyncIterator[ServerProcess]:
    """Runs a module as a server process while the block runs."""
    port, operations_port = free_port(), free_port()
    ports = {"LIVEBALANCE_HTTP_PORT": str(port), "LIVEBALANCE_OPERATIONS_PORT": str(operations_port)}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        env={**os.environ, **environment, **ports},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await wait_until_listening(port)
        yield ServerProcess(port, operations_port, psutil.Process(child.pid))
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def wait_until_listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def wait_until_idle(sessions: list[Session]) -> int:
    """Waits until no bytes have arrived for half a second, and returns how many have arrived by then."""
    before = -1
    while (received := sum(session.received for session in sessions)) != before:
        before = received
        await asyncio.sleep(0.5)
    return received


@dataclass(frozen=True)
class Scenario:
    kind: str
    rate: int  # deliveries per second
    seconds: float
    sessions: int

    @property
    def accounts(self) -> list[AccountId]:
        return (
            [account_id(0)] if self.kind == "hot" else [account_id(number) for number in range(self.sessions)]
        )

    @property
    def deltas_per_second(self) -> float:
        return self.rate * len(self.accounts) / self.sessions


@dataclass(frozen=True)
class Result:
    delivery: float  # CPU µs per delivery
    arrived: float  # share of the scenario's deliveries
    idle: float  # KiB per session
    connect: float  # CPU µs per session


async def measure(server: ServerProcess, redis_url: str, scenario: Scenario) -> Result:
    cpu, resident = server.cpu_seconds(), server.resident_bytes()
    sessions = await connect_sessions(server, scenario)
    received_before = await wait_until_idle(sessions)
    connect = (server.cpu_seconds() - cpu) / scenario.sessions * 1e6
    idle = (server.resident_bytes() - resident) / scenario.sessions / 1024
    cpu = server.cpu_seconds()
    await publish(redis_url, scenario)
    deliveries = (await wait_until_idle(sessions) - received_before) / FRAME_BYTES
    delivery = (server.cpu_seconds() - cpu) / max(deliveries, 1) * 1e6
    for session in sessions:
        session.transport.abort()
    return Result(delivery, deliveries / scenario.rate / scenario.seconds, idle, connect)


async def connect_sessions(server: ServerProcess, scenario: Scenario) -> list[Session]:
    accounts = scenario.accounts
    sessions = [Session(accounts[number % len(accounts)]) for number in range(scenario.sessions)]
    for session in sessions:
        await session.connect(server.port)
    return sessions


async def publish(redis_url: str, scenario: Scenario) -> None:
    """Publishes the deltas of a scenario, those that are due every 10 ms."""
    address = urlsplit(redis_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    replies = asyncio.create_task(discard(reader))
    accounts = scenario.accounts
    revisions = dict.fromkeys(accounts, BASE)
    sent, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < scenario.seconds:
        due = int(elapsed * scenario.deltas_per_second)
        for number in range(sent, due):
            account = accounts[number % len(accounts)]
            message = encode_delta(example_delta(account, revisions[account]))
            revisions[account] += 2
            command: Any = ("PUBLISH", redis_account_channel(PREFIX, account), message)
            writer.write(hiredis.pack_command(command))
        await writer.drain()
        sent = due
        await asyncio.sleep(0.01)
    replies.cancel()
    writer.close()


async def discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def fill_accounts(url: str, accounts: int) -> None:
    """Writes accounts at the revision BASE."""
    connection = await asyncpg.connect(url)
    await connection.execute(
        "insert into projection select true, $1, system_identifier, timeline, 1 from server_identity", EPOCH
    )
    await connection.execute(
        "insert into lane values (0, 0, 0, 1, $1, true, null, null, null, null, null, now())", EPOCH
    )
    await connection.execute(
        "insert into balance (account_id, revision, lane, posted_total, transfer_count, recorded_at)"
        " select 'acc-' || lpad(n::text, 5, '0'), $1, 0, 0, 1, now() from generate_series(0, $2) n",
        BASE,
        accounts,
    )
    await connection.close()


async def benchmark(servers: Servers, sessions: int, seconds: float) -> None:
    database = Database(servers.postgres, "fanout")
    await database.create()
    await fill_accounts(database.url("owner"), sessions)
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_CHANNEL_PREFIX": PREFIX,
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "3600",  # Postgres does not have the published deltas
        # All clients connect at once, from the same address.
        **dict.fromkeys(
            ("LIVEBALANCE_MAX_CONNECTIONS_PER_ADDRESS", "LIVEBALANCE_CONNECTION_RATE_PER_ADDRESS"), "100000"
        ),
        "LIVEBALANCE_CONNECTION_RATE": "100000",
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
    await print_table(environment, sessions, seconds)


async def print_table(environment: dict[str, str], sessions: int, seconds: float) -> None:
    print(f"{sessions} sessions, {FRAME_BYTES} bytes per delivery, {seconds:g} s per scenario\n")
    print("scenario     server     CPU µs/delivery  ratio  arrived  idle KiB  connect µs")
    for kind, rate in SCENARIOS:
        reference = 0.0
        for name, module in SERVERS.items():
            async with run_server(module, environment) as server:
                url = environment["LIVEBALANCE_REDIS"]
                result = await measure(server, url, Scenario(kind, rate, seconds, sessions))
            reference = reference or result.delivery
            print(
                f"{kind} {rate:>6}/s  {name:<9} {result.delivery:>16.1f} {result.delivery / reference:>6.2f}"
                f" {result.arrived:>8.0%} {result.idle:>9.1f} {result.connect:>11.0f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0, help="seconds of each scenario (5)")
    arguments = parser.parse_args()
    run_on_servers(lambda servers: benchmark(servers, arguments.sessions, arguments.seconds))


if __name__ == "__main__":
    main()
