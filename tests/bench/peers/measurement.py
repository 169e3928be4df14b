"""One measurement: a server, its clients, and the deltas of a scenario."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import hiredis

from livebalance.wire.identity import AccountId
from tests.bench.peers.client import CHECKED_EVERY, Client, Published
from tests.bench.peers.client_network import ClientNetwork
from tests.bench.peers.messages import BASE, account_id
from tests.bench.peers.servers import Peer, ServerProcess

CONNECT_TIMEOUT = 60.0  # seconds until every client is subscribed
QUIET = 0.5  # seconds without a byte, after which all has arrived


@dataclass(frozen=True)
class Scenario:
    """`own`: each client has an account of its own; `hot`: all have the same."""

    kind: str
    rate: int  # deliveries per second
    seconds: float
    clients: int

    @property
    def accounts(self) -> list[AccountId]:
        return [account_id(number) for number in range(1 if self.kind == "hot" else self.clients)]

    @property
    def deltas_per_second(self) -> float:
        return self.rate * len(self.accounts) / self.clients


class Measurement(NamedTuple):
    user: float  # CPU µs per delivery
    kernel: float  # the same
    arrived: float  # share of the deliveries of what was published
    idle: float  # KiB per client
    connect: float  # CPU µs per client
    p99: float  # ms from publishing to a client's read
    breaks: int  # of chains of revisions
    wire_bytes: float  # per delivery

    @property
    def delivery(self) -> float:
        """CPU µs per delivery."""
        return self.user + self.kernel


async def measure(
    peer: Peer, server: ServerProcess, redis_url: str, scenario: Scenario, network: ClientNetwork
) -> Measurement:
    await wait_until_served(peer, server, scenario, network)
    cpu, resident = server.cpu_seconds(), server.resident_bytes()
    published: dict[AccountId, Published] = {}
    clients = await connect(peer, server, scenario, published, network)
    received = await wait_until_quiet(clients)
    connected = (server.cpu_seconds() - cpu) / scenario.clients * 1e6
    idle = (server.resident_bytes() - resident) / scenario.clients / 1024
    user, kernel = server.cpu_time()
    deltas = await publish(peer, redis_url, scenario, published)
    received = await wait_until_quiet(clients) - received
    after = server.cpu_time()
    for client in clients:
        client.transport.abort()
    deliveries = max(1, sum(client.deliveries for client in clients))
    delays = sorted(delay for client in clients for delay in client.delays)
    return Measurement(
        (after.user - user) / deliveries * 1e6,
        (after.kernel - kernel) / deliveries * 1e6,
        deliveries / (deltas * scenario.clients / len(scenario.accounts)),
        idle,
        connected,
        delays[len(delays) * 99 // 100] * 1000 if delays else float("nan"),
        sum(client.breaks for client in clients),
        received / deliveries,
    )


async def connect(
    peer: Peer,
    server: ServerProcess,
    scenario: Scenario,
    published: dict[AccountId, Published],
    network: ClientNetwork,
) -> list[Client]:
    accounts, clients = scenario.accounts, []
    for number in range(scenario.clients):
        account = accounts[number % len(accounts)]
        checked = number % CHECKED_EVERY == 0
        client = peer.client(account, published.setdefault(account, {}) if checked else None)
        await connect_client(client, server, network)
        clients.append(client)
    async with asyncio.timeout(CONNECT_TIMEOUT):
        assert all(await asyncio.gather(*(client.subscribed for client in clients)))
    return clients


async def connect_client(client: Client, server: ServerProcess, network: ClientNetwork) -> None:
    loop, sock = asyncio.get_running_loop(), network.socket()
    await loop.sock_connect(sock, (network.host, server.port))
    await loop.create_connection(lambda: client, sock=sock)


async def wait_until_served(
    peer: Peer, server: ServerProcess, scenario: Scenario, network: ClientNetwork
) -> None:
    """Connects a client until it is subscribed: a gateway refuses clients until it has read revocations."""
    async with asyncio.timeout(CONNECT_TIMEOUT):
        is_served = False
        while not is_served:
            client = peer.client(scenario.accounts[0], None)
            await connect_client(client, server, network)
            is_served = await client.subscribed
            client.transport.abort()


async def wait_until_quiet(clients: Sequence[Client]) -> int:
    """Waits until nothing has arrived for a while, and returns how many bytes have arrived by then."""
    before = -1
    while (received := sum(client.received for client in clients)) != before:
        before = received
        await asyncio.sleep(QUIET)
    return received


async def publish(
    peer: Peer, redis_url: str, scenario: Scenario, published: dict[AccountId, Published]
) -> int:
    """Publishes the deltas of a scenario to Redis, those that are due every 10 ms. Returns their number."""
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
            command: Any = ("PUBLISH", *peer.message(account, revisions[account]))
            revisions[account] += 2
            if account in published:
                published[account][revisions[account]] = time.perf_counter()
            writer.write(hiredis.pack_command(command))
        await writer.drain()
        sent = due
        await asyncio.sleep(0.01)
    replies.cancel()
    writer.close()
    return sent


async def discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass
