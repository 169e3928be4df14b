"""What clients and deliveries cost gateways while sessions and gateways grow."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

from livebalance.stack.servers.servers import Servers
from tests.bench.growth.curve import Curve, Growth
from tests.bench.peers.environment import server_environment
from tests.bench.peers.measurement import Scenario, publish
from tests.bench.peers.messages import BASE
from tests.bench.peers.servers import peers, run_server
from tests.bench.reconnect_storm import FleetProcess, run_fleet

CONNECT_RATE = 400.0  # new clients a second; each has an account of its own, which is read
SETTLE = 3.0  # seconds between the last connection and the measurement
IDLE = 20.0  # seconds: two heartbeats and a ping
RATE, SECONDS = 2000, 5.0  # deltas a second, each of one client
SESSIONS = 1000  # of all gateways together


class Cost(NamedTuple):
    """What a client, and a delivery to a client, costs all gateways together."""

    connect: float  # CPU µs
    memory: float  # KiB
    idle: float  # CPU µs a second
    delivery: float  # CPU µs


async def measure(environment: Mapping[str, str], sessions: int, gateways: int) -> Cost:
    """Connects clients of an account each, evenly to all gateways, and publishes to their accounts."""
    peer = peers(None)["gateway"]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(run_server(peer.command, environment)) for _ in range(gateways)
        ]
        fleet = await stack.enter_async_context(run_fleet())

        def cpu() -> float:
            return sum(server.cpu_seconds() for server in servers) * 1e6

        def resident() -> float:
            return sum(server.resident_bytes() for server in servers) / 1024

        await asyncio.sleep(SETTLE)
        used, size = cpu(), resident()
        for server in servers:
            await fleet.call("connect", server.port, sessions // gateways, sessions, CONNECT_RATE)
        connect = (cpu() - used) / sessions
        await asyncio.sleep(SETTLE)
        memory, used = (resident() - size) / sessions, cpu()
        await asyncio.sleep(IDLE)
        idle = (cpu() - used) / IDLE
        used = cpu()
        await publish(peer, environment["LIVEBALANCE_REDIS"], Scenario("own", RATE, SECONDS, sessions), {})
        await asyncio.sleep(1.0)
        delivery = (cpu() - used - idle * (SECONDS + 1.0)) / await _deliveries(fleet)
        return Cost(connect, memory, idle / sessions, delivery)


async def _deliveries(fleet: FleetProcess) -> float:
    """Returns how many deltas the clients have applied. Each has two revisions."""
    revisions: Mapping[str, Sequence[int]] = await fleet.call("revisions")
    deliveries = sum(revision - BASE for [revision] in revisions.values()) / 2
    assert deliveries > 0.99 * RATE * SECONDS, deliveries
    return deliveries


def _curve(name: str, unit: str, costs: Mapping[int, Cost], field: str) -> Curve:
    return Curve(name, unit, [(size, getattr(cost, field)) for size, cost in costs.items()])


async def over_sessions(servers: Servers, sizes: Sequence[int]) -> Growth:
    environment = await server_environment(servers, max(sizes))
    costs = {size: await measure(environment, size, 1) for size in sizes}
    return Growth(
        "sessions of a gateway",
        [
            _curve("delivery", "CPU µs", costs, "delivery"),
            _curve("new client", "CPU µs", costs, "connect"),
            _curve("idle client", "CPU µs a second", costs, "idle"),
            _curve("idle client", "KiB", costs, "memory"),
        ],
    )


async def over_gateways(servers: Servers, sizes: Sequence[int]) -> Growth:
    environment = await server_environment(servers, SESSIONS)
    costs = {size: await measure(environment, SESSIONS, size) for size in sizes}
    return Growth(
        f"gateways that share {SESSIONS:,} sessions",
        [
            _curve("delivery", "CPU µs of all gateways", costs, "delivery"),
            _curve("new client", "CPU µs", costs, "connect"),
        ],
    )
