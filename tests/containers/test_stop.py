"""A gateway drains when the engine stops it, and at the end Kafka, SQL and clients agree."""

import asyncio
import json
import time

import pytest

from livebalance.client.event import Disconnected
from livebalance.wire.close import CloseCode
from livebalance.wire.frame import Goaway
from tests.containers.compared_client import (
    TIMEOUT,
    ComparedClient,
    compare,
    running_clients,
    wait_for_new_data,
)
from tests.containers.compose_project import POLL, ComposeProject

pytestmark = pytest.mark.timeout(3600)  # the first test builds and starts everything

RESTART_SECONDS = 300.0
OWNER = "LIVEBALANCE_POSTGRES_OWNER=postgresql://owner@postgres:5432/livebalance"
_UNFINISHED = (
    "select count(*) from balances where half_applied is distinct from 0 or drift is distinct from 0"
)
_CONSERVED = "select sum(balance + half_applied) = sum(opening) + sum(posted_total) from balances"


async def test_stopped_gateway_drains_its_clients_before_it_is_killed(project: ComposeProject) -> None:
    async with running_clients(project) as clients:
        await wait_for_new_data(clients)
        moving = [client for client in clients if client.history[-1].gateway == "gateway-1"]
        assert moving
        for client in clients:
            client.longest_lag = 0.0
            client.connection_events.clear()
        begin = time.monotonic()
        await asyncio.to_thread(project.compose, "stop", "gateway-1")
        print(f"stop of a gateway: {time.monotonic() - begin:.1f} s")
        stopped = await asyncio.to_thread(project.state, "gateway-1")
        assert (stopped.status, stopped.exit_code) == ("exited", 0)  # 137 would be SIGKILL
        await wait_for_new_data(clients)
        longest = max(client.longest_lag for client in clients)
        print(f"stop of a gateway: no client was behind the others for more than {longest:.2f} s")
        for client in moving:
            _assert_left_because_of_drain(client)
        await compare(project, clients)
        await asyncio.to_thread(project.compose, "start", "gateway-1")
        await project.wait_until_restarted("gateway-1", stopped.started_at, RESTART_SECONDS)


def _assert_left_because_of_drain(client: ComparedClient) -> None:
    goaway, closed, *_ = [
        event for event in client.connection_events if isinstance(event, Goaway | Disconnected)
    ]
    assert isinstance(goaway, Goaway)
    assert goaway.reason == "drain"
    assert isinstance(closed, Disconnected)
    assert closed.code == CloseCode.GOODBYE, closed
    assert client.history[-1].gateway == "gateway-2"


async def test_kafka_sql_and_clients_agree_at_rest(project: ComposeProject) -> None:
    """The command line replays Kafka into another database, and compares it with the projection."""
    async with running_clients(project) as clients:
        await asyncio.to_thread(project.compose, "stop", "feed-1")
        async with asyncio.timeout(TIMEOUT):
            while await asyncio.to_thread(project.query, _UNFINISHED) != [["0"]]:  # noqa: ASYNC110
                await asyncio.sleep(POLL)
        await compare(project, clients)
        assert await asyncio.to_thread(project.query, _CONSERVED) == [["t"]]
        command = [
            "run",
            "--rm",
            "--no-deps",
            "-T",
            "-e",
            OWNER,
            "recorder-1",
            "livebalance",
            "rebuild",
            "--json",
        ]
        output = await asyncio.to_thread(lambda: project.compose(*command, within=300))
        report = json.loads(output)
        assert report["equal"] is True
        transfers = sum(lane["shadow"]["transfers"] for lane in report["lanes"].values())
        print(f"rebuild: {transfers} transfers in Kafka equal those in SQL")
        await asyncio.to_thread(project.compose, "start", "feed-1")
