"""A client that resumes from a position gets what it missed, or a snapshot with the reason."""

from typing import Any

import httpx
import pytest

from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import ShownAccount, WebSocketClient
from tests.tokens import bearer


def resumed(client: WebSocketClient, account: str, shown: ShownAccount) -> dict[str, Any]:
    """Makes a client show an account, and returns its position."""
    client.shown[account] = shown
    assert shown.position
    return shown.position


async def shown_at(gateway: RunningGateway, account: str, revision: int) -> ShownAccount:
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe(account)
        return await client.until_at(account, revision)


async def test_resume_with_nothing_missed_gets_ok_only(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    shown = await shown_at(gateway, "alice", 1)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", position=resumed(client, "alice", shown))
        await client.subscribe("bob")
        await client.until_at("bob", 0)
        assert [frame["channel"] for frame in client.of_type("snapshot")] == ["account:bob"]
        await projector.transfer("alice", 5)
        assert_shows(await client.until_at("alice", 3), projector.account("alice"))


async def test_resume_with_few_missed_gets_one_delta(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    await projector.transfer("alice", 1)
    shown = await shown_at(gateway, "alice", 3)
    await projector.transfer("alice", 2, 3)
    await projector.write({"alice": [4]})
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", position=resumed(client, "alice", shown))
        assert_shows(await client.until_at("alice", 8), projector.account("alice"))
        assert not client.of_type("snapshot")
        assert len(client.of_type("delta")) == 1


async def test_resume_with_many_missed_gets_pages(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(recovery_page_rows=10)
    await projector.open("alice")
    shown = await shown_at(gateway, "alice", 1)
    await projector.transfer("alice", *range(1, 36))
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", position=resumed(client, "alice", shown))
        assert_shows(await client.until_at("alice", 71), projector.account("alice"))
        deltas = client.of_type("delta")
        assert [len(delta["transfers"]) for delta in deltas] == [10, 10, 10, 5]
        assert all(delta["to"] == delta["transfers"][-1]["revision"] for delta in deltas[:-1])
        assert ["balance" in delta for delta in deltas] == [False, False, False, True]


async def test_resume_from_too_far_gets_a_snapshot_whose_gap_rest_fills(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(recovery_max_revisions=100)
    await projector.open("alice")
    shown = await shown_at(gateway, "alice", 1)
    await projector.transfer("alice", *range(1, 71))
    async with (
        WebSocketClient(gateway.ws) as client,
        httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as http,
    ):
        await client.subscribe("alice", position=resumed(client, "alice", shown))
        await client.until_at("alice", 141)
        snapshot = client.of_type("snapshot")[0]
        assert (snapshot["reason"], snapshot["gap"]) == ("too_far", {"from": 1, "to": 141})
        assert len(snapshot["transfers"]) == 50
        filled: list[dict[str, Any]] = []
        after = "1"
        while after:
            path = f"/api/v1/accounts/alice/transfers?after_revision={after}&limit=30"
            page = (await http.get(path)).json()
            filled, after = filled + page["transfers"], page["next"]
        assert [transfer["id"] for transfer in filled] == [
            transfer.id for transfer in projector.account("alice").transfers
        ]


async def test_resume_from_ahead_of_postgres_gets_a_snapshot(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", position={"epoch": projector.epoch, "revision": 1000})
        await client.until_at("alice", 1)
        assert client.of_type("snapshot")[0]["reason"] == "ahead"


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"epoch": "00000000000000b2", "revision": 1}, "epoch"),
        ({"epoch": "never given out", "revision": 1}, "subscribed"),
        ({"epoch": "00000000000000a1", "revision": -5}, "subscribed"),
    ],
)
async def test_resume_from_unknown_position_gets_a_snapshot(
    gateway: RunningGateway, projector: FakeProjector, position: dict[str, Any], reason: str
) -> None:
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", position=position)
        await client.until_at("alice", 1)
        assert client.of_type("snapshot")[0]["reason"] == reason


async def test_new_epoch_sends_snapshots_to_connected_clients(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.2)
    await projector.open("alice", "quiet")
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("alice", "quiet")
        await client.until(lambda: len(client.shown) == 2)
        await projector.change_epoch("00000000000000b2")
        await projector.transfer("alice", 5)  # a delta of the new epoch
        await client.until(lambda: len(client.of_type("snapshot")) == 4)
        assert {frame["reason"] for frame in client.of_type("snapshot")[2:]} == {"epoch"}
        await projector.transfer("alice", 6)
        await client.until_at("alice", 5)
        assert {shown.position and shown.position["epoch"] for shown in client.shown.values()} == {
            projector.epoch
        }


async def test_unknown_postgres_server_is_unavailable(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.2)
    await projector.open("alice")
    await projector.execute("update projection set timeline = 'FFFFFFFF'")
    async with (
        WebSocketClient(gateway.ws) as client,
        httpx.AsyncClient(base_url=gateway.http, headers=bearer(), timeout=30) as http,
    ):
        await client.subscribe("alice")
        await client.until(lambda: client.of_type("error"))
        error = client.of_type("error")[0]
        assert (error["code"], error["channel"], error["temporary"]) == ("unavailable", "account:alice", True)
        assert error["retry_after_ms"] > 0
        answer = await http.get("/api/v1/accounts/alice")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"]
        await client.until(lambda: client.of_type("status")[-1]["state"] == "stalled")
        await projector.execute(
            "update projection set timeline = server_identity.timeline from server_identity"
        )
        await client.subscribe("alice")
        await client.until_at("alice", 1)
