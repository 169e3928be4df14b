"""A rolling update: each process is replaced while clients receive transfers, and no client is disturbed.

The processes are replaced as an orchestrator does it. The successor of a gateway is ready before the old
gateway receives SIGTERM. A projector or recorder is stopped first, and then started under the same name.
"""

import asyncio
from collections.abc import Sequence

import pytest

from livebalance.client.event import Connected, Disconnected
from livebalance.gateway.lifecycle import RETRY_AFTER_DRAIN_MS
from livebalance.generator.transfers import account_id
from livebalance.stack.cluster import Cluster
from livebalance.wire.close import CloseCode, retry_after_ms
from livebalance.wire.frame import Goaway
from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck
from tests.acceptance.upgrade.conftest import ACCOUNTS, NewCluster, start_process, stop_process
from tests.acceptance.upgrade.reconnecting_client import FirstShown, ReconnectingClient
from tests.tokens import token_source

RATE = 200  # transfers per second, two records each
CLIENTS = 36
DRAIN_DELAY, DRAIN_PERIOD = 1.5, 3.0  # seconds; the balancer checks readiness every second
# Seconds. More than half of a dozen clients reconnect within one interval once in 100,000 drains.
INTERVAL = 0.1
TIMEOUT = 60.0
SPARE = "gateway-4"  # runs only while another gateway is stopped
GATEWAYS = ["gateway-1", "gateway-2", "gateway-3"]
OTHERS = ["projector-1", "projector-2", "recorder-1", "recorder-2"]
MAX_PAUSE = 30.0  # seconds: the session timeout, after which another process takes the lanes over
SESSION = {"LIVEBALANCE_SESSION_TIMEOUT_MS": str(int(MAX_PAUSE * 1000))}
# As in the chart, a projector's name is its group instance id, so it keeps its lanes during a restart.
MEMBERS = {
    name: SESSION | ({"LIVEBALANCE_GROUP_INSTANCE_ID": name} if name.startswith("projector") else {})
    for name in OTHERS
}
MAX_LAG = 1.0  # seconds without data, for any client of a gateway that is replaced
ENVIRONMENT = {
    "gateway": {
        "LIVEBALANCE_DRAIN_DELAY_SECONDS": str(DRAIN_DELAY),
        "LIVEBALANCE_DRAIN_PERIOD_SECONDS": str(DRAIN_PERIOD),
        "LIVEBALANCE_CONNECTION_RATE_PER_ADDRESS": "1000",  # all clients have the same address
    },
    **MEMBERS,
}


def make_clients(cluster: Cluster) -> list[ReconnectingClient]:
    """Returns clients of different users. Each follows one account; the accounts are spread evenly."""
    secret, first_shown = cluster.demo_secret, FirstShown()
    return [
        ReconnectingClient(
            f"client-{n}", cluster.page, [account_id(1 + n % ACCOUNTS)], token_source(secret), first_shown
        )
        for n in range(CLIENTS)
    ]


async def restart_process(cluster: Cluster, name: str, clients: Sequence[ReconnectingClient]) -> float:
    """Restarts a process, and returns the longest pause of any client until it was ready, in seconds."""
    for client in clients:
        client.longest_pause = 0.0
    await stop_process(cluster, name)
    await start_process(cluster, name)
    return max(client.longest_pause for client in clients)


def assert_nobody_lags(clients: Sequence[ReconnectingClient], connections: Sequence[int]) -> None:
    """Asserts that no client was without data for long while its account changed. Begins anew.

    `connections` are those of the clients before. A busy machine delays clients that stay connected, too.
    """
    stayed = [
        client for client, before in zip(clients, connections, strict=True) if client.connections == before
    ]
    usual = max(client.longest_lag for client in stayed)
    lags = sorted(client.longest_lag for client in clients)
    print(f"longest time without data: {lags[-1]:.2f} s, median of the clients {lags[len(lags) // 2]:.2f} s")
    assert lags[-1] <= MAX_LAG + usual, lags
    for client in clients:
        client.longest_lag = 0.0


async def replace_gateway(
    cluster: Cluster, old: str, new: str, clients: Sequence[ReconnectingClient]
) -> list[float]:
    """Replaces a gateway, and returns when each of its clients reconnected, in order (monotonic seconds)."""
    await start_process(cluster, new)
    moving = [client for client in clients if client.history[-1].gateway == old]
    assert len(moving) >= CLIENTS / 6, "too few clients to judge how their reconnects are spread"
    await stop_process(cluster, old)
    async with asyncio.timeout(TIMEOUT):
        await asyncio.gather(
            *(
                client.wait_for_connections(client.connections + _is_still_at(client, old))
                for client in moving
            )
        )
    assert all(client.history[-1].gateway != old for client in moving)
    return sorted(client.history[-1].attempted_at for client in moving)


def _is_still_at(client: ReconnectingClient, gateway: str) -> bool:
    return client.history[-1].gateway == gateway


def most_within_interval(times: Sequence[float]) -> int:
    return max(sum(first <= time < first + INTERVAL for time in times) for first in times)


def assert_undisturbed(client: ReconnectingClient) -> None:
    """Asserts that each disconnect followed a `goaway`, and that the first attempt to reconnect succeeded."""
    assert client.attempts == client.connections
    event_types = [type(event) for event in client.connection_events]
    reconnects = [Goaway, Disconnected, Connected] * (client.connections - 1)
    assert event_types == [Connected, *reconnects], event_types
    for event in client.connection_events:
        if isinstance(event, Goaway):
            assert event.reconnect_within_ms == DRAIN_PERIOD * 1000
        elif isinstance(event, Disconnected):
            assert event.code == CloseCode.GOODBYE
            assert is_closed_by_gateway(event) or event.reason == "reconnecting after goaway"


def is_closed_by_gateway(event: Disconnected) -> bool:
    """Returns whether a gateway closed the connection, with a time to reconnect within the drain period."""
    wait = retry_after_ms(event.reason)
    return wait is not None and wait <= DRAIN_PERIOD * 1000


@pytest.mark.alone
@pytest.mark.timeout(600)
async def test_clients_during_a_rolling_update_are_undisturbed(new_cluster: NewCluster) -> None:
    async with new_cluster(ENVIRONMENT, gateways=4, recorders=2) as cluster:
        await stop_process(cluster, SPARE)
        clients = make_clients(cluster)
        check = EndToEndCheck(cluster, ACCOUNTS, clients)
        async with check.running_clients():
            async with check.feeding(seed=1, rate=RATE):
                await check.wait_for_deltas(10, TIMEOUT)
                for name in OTHERS:
                    assert await restart_process(cluster, name, clients) < MAX_PAUSE
                    await check.wait_for_deltas(10, TIMEOUT)
                for client in clients:
                    client.longest_lag = 0.0
                for old, new in zip(GATEWAYS, [SPARE, *GATEWAYS], strict=False):
                    connections = [client.connections for client in clients]
                    times = await replace_gateway(cluster, old, new, clients)
                    assert most_within_interval(times) <= len(times) / 2, times
                    await check.wait_for_deltas(10, TIMEOUT)
                    assert_nobody_lags(clients, connections)
            await check.compare(await check.wait_until_complete(TIMEOUT))
    for client in clients:
        assert_undisturbed(client)
    events = [event for client in clients for event in client.connection_events]
    waits = {
        retry_after_ms(event.reason)
        for event in events
        if isinstance(event, Disconnected) and is_closed_by_gateway(event)
    }
    assert waits == {RETRY_AFTER_DRAIN_MS}  # the closes are spread, not the returns
