"""What a delivered update costs the server's CPU: the usual way, the gateway, and the least there is.

`python -m tests.bench.fanout [--sessions 500] [--seconds 5]`

Deltas come from real Redis to real sockets; this process publishes them, reads every socket and counts.
"own": each session follows an account of its own; "hot": all follow one. Deliveries a second are those asked
for; a way that does not keep up shows by what arrived. Idle KiB and connect µs are the server's, a session.
"bare" keeps no promise, and is what remains below any gateway; ratios are to the usual way.
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
from tests.bench.bench_servers import on_servers
from tests.servers.database import Database
from tests.tokens import SECRET, token

EPOCH = Epoch("00000000000000a1")
BASE = 1_000_000_000  # every account begins here: so all frames are of one length, and bytes count them
PREFIX = "fanout:"
SCENES = [("own", 4_000), ("own", 16_000), ("hot", 10_000), ("hot", 80_000)]
WAYS = {
    "send_text": "tests.bench.fanout_starlette",
    "gateway": "livebalance.gateway",
    "bare": "tests.bench.fanout_bare",
}
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Protocol: livebalance.v1\r\n\r\n"
)


def name(number: int) -> AccountId:
    return AccountId(f"acc-{number:05}")


def delta(account: AccountId, revision: int) -> Delta:
    """A transfer and its balance, as the projector publishes them; 259 bytes more or less, like real ones."""
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


FRAME = len(delta(name(0), BASE).text) + 4


def masked(text: bytes) -> bytes:
    """A text frame of a client, with a mask of nothing."""
    size = len(text)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + text


class Session(asyncio.Protocol):
    """Subscribes, then counts bytes."""

    def __init__(self, account: AccountId) -> None:
        wanted = encode_frame(Subscribe(1, [ChannelRequest(channel_name(account))]))
        self._hello = masked(encode_frame(Auth(token()))) + masked(wanted)
        self.received = 0
        self.transport: asyncio.Transport

    def itself(self) -> "Session":
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        if not self.received:
            self.transport.write(self._hello)
        self.received += len(data)


@dataclass
class Server:
    port: int
    process: psutil.Process

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident(self) -> int:
        return int(self.process.memory_info().rss)


@asynccontextmanager
async def serving(module: str, environment: dict[str, str]) -> AsyncIterator[Server]:
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        env={**os.environ, **environment, "LIVEBALANCE_HTTP_PORT": str(port)},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await listening(port)
        yield Server(port, psutil.Process(child.pid))
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def at_rest(sessions: list[Session]) -> int:
    """Bytes received when nothing has come for half a second."""
    before = -1
    while (now := sum(one.received for one in sessions)) != before:
        before = now
        await asyncio.sleep(0.5)
    return now


@dataclass(frozen=True)
class Scene:
    kind: str
    rate: int  # deliveries a second
    seconds: float
    sessions: int

    @property
    def accounts(self) -> list[AccountId]:
        return [name(0)] if self.kind == "hot" else [name(number) for number in range(self.sessions)]

    @property
    def deltas(self) -> float:
        """A second."""
        return self.rate * len(self.accounts) / self.sessions


@dataclass(frozen=True)
class Measured:
    cost: float  # CPU µs a delivery
    arrived: float  # of the deliveries asked for
    idle: float  # KiB a session
    connect: float  # CPU µs a session


async def measure(server: Server, redis_url: str, scene: Scene) -> Measured:
    cpu, resident = server.cpu(), server.resident()
    sessions = await connected(server, scene)
    start = await at_rest(sessions)
    connect = (server.cpu() - cpu) / scene.sessions * 1e6
    idle = (server.resident() - resident) / scene.sessions / 1024
    cpu = server.cpu()
    await publish(redis_url, scene)
    delivered = (await at_rest(sessions) - start) / FRAME
    cost = (server.cpu() - cpu) / max(delivered, 1) * 1e6
    for one in sessions:
        one.transport.abort()
    return Measured(cost, delivered / scene.rate / scene.seconds, idle, connect)


async def connected(server: Server, scene: Scene) -> list[Session]:
    sessions = [Session(scene.accounts[number % len(scene.accounts)]) for number in range(scene.sessions)]
    for one in sessions:
        await asyncio.get_running_loop().create_connection(one.itself, "127.0.0.1", server.port)
    return sessions


async def publish(redis_url: str, scene: Scene) -> None:
    """In steps of 10 ms."""
    at = urlsplit(redis_url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    replies = asyncio.create_task(discard(reader))
    accounts = scene.accounts
    revisions = dict.fromkeys(accounts, BASE)
    sent, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < scene.seconds:
        due = int(elapsed * scene.deltas)
        for number in range(sent, due):
            account = accounts[number % len(accounts)]
            message = encode_delta(delta(account, revisions[account]))
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


async def fill(url: str, accounts: int) -> None:
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


async def run(servers: Servers, sessions: int, seconds: float) -> None:
    database = Database(servers.postgres, "fanout")
    await database.create()
    await fill(database.url("owner"), sessions)
    environment = {
        "LIVEBALANCE_POSTGRES": database.url("gateway"),
        "LIVEBALANCE_REDIS": servers.redis(),
        "LIVEBALANCE_CHANNEL_PREFIX": PREFIX,
        "LIVEBALANCE_AUDIT_INTERVAL_SECONDS": "3600",  # these deltas stand in no table
        # All clients are of one address, and come at once.
        **dict.fromkeys(
            ("LIVEBALANCE_MAX_CONNECTIONS_PER_ADDRESS", "LIVEBALANCE_CONNECTION_RATE_PER_ADDRESS"), "100000"
        ),
        "LIVEBALANCE_CONNECTION_RATE": "100000",
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
    await table(environment, sessions, seconds)


async def table(environment: dict[str, str], sessions: int, seconds: float) -> None:
    print(f"{sessions} sessions, {FRAME} bytes a delivery, {seconds:g} s a scene\n")
    print("scene        way        CPU µs/delivery  ratio  arrived  idle KiB  connect µs")
    for kind, rate in SCENES:
        usual = 0.0
        for way, module in WAYS.items():
            async with serving(module, environment) as server:
                url = environment["LIVEBALANCE_REDIS"]
                got = await measure(server, url, Scene(kind, rate, seconds, sessions))
            usual = usual or got.cost
            print(
                f"{kind} {rate:>6}/s  {way:<9} {got.cost:>16.1f} {got.cost / usual:>6.2f} {got.arrived:>8.0%}"
                f" {got.idle:>9.1f} {got.connect:>11.0f}",
                flush=True,
            )


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0)
    return parser.parse_args()


def main() -> None:
    given = arguments()
    on_servers(lambda servers: run(servers, given.sessions, given.seconds))


if __name__ == "__main__":
    main()
