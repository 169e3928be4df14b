"""Each service is killed while clients are connected: it comes back by itself, and nothing is lost."""

import asyncio
from datetime import datetime

import pytest

from tests.containers.compared_client import ComparedClient, compare, running_clients, wait_for_new_data
from tests.containers.compose_project import ComposeProject

pytestmark = pytest.mark.timeout(3600)  # the first test builds and starts everything

RESTART_SECONDS = 300.0
TOGETHER = [
    ["kafka"],
    ["postgres"],
    ["redis"],
    ["feed-1"],
    ["recorder-1"],
    ["projector-1"],
    ["projector-2"],
    ["gateway-1"],
    ["gateway-2"],
    ["balancer"],
    ["kafka", "postgres", "redis"],
]


@pytest.mark.parametrize("services", TOGETHER, ids=" and ".join)
async def test_killed_services_come_back_and_clients_equal_sql(
    project: ComposeProject, services: list[str]
) -> None:
    async with running_clients(project) as clients:
        await wait_for_new_data(clients)
        for client in clients:
            client.longest_pause = 0.0
        before = {name: await asyncio.to_thread(project.state, name) for name in services}
        await asyncio.to_thread(project.kill, *services)
        for name in services:
            state = await project.wait_until_restarted(name, before[name].started_at, RESTART_SECONDS)
            assert state.id == before[name].id
            print(f"{name}: healthy {_seconds(state.finished_at, state.healthy_at)} s after it was killed")
        await wait_for_new_data(clients)
        await compare(project, clients)
        _report(services, clients)


def _seconds(begin: datetime, end: datetime | None) -> str:
    assert end
    return f"{(end - begin).total_seconds():.1f}"


def _report(services: list[str], clients: list[ComparedClient]) -> None:
    longest = max(client.longest_pause for client in clients)
    connections = sum(client.connections - 1 for client in clients)
    print(
        f"{' and '.join(services)}: longest time without new data {longest:.1f} s, {connections} reconnects"
    )
    for client in clients:
        assert not client.recovery_snapshots, f"{client.name} was reset: {client.recovery_snapshots[:1]}"
