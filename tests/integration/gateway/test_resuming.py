"""A client that comes back with a position gets all it missed, or a snapshot that says why."""

from typing import Any

import httpx
import pytest

from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.test_following import assert_shows
from tests.integration.gateway.viewer import Shown, Viewer
from tests.tokens import bearer


def resumed(viewer: Viewer, account: str, shown: Shown) -> dict[str, Any]:
    """The viewer shows what was shown before."""
    viewer.shown[account] = shown
    assert shown.position
    return shown.position


def asking(gateway: Running) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gateway.http, headers=bearer())


async def shown_at(gateway: Running, account: str, revision: int) -> Shown:
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow(account)
        return await viewer.until_at(account, revision)


async def test_nothing_missed_is_answered_with_ok_alone(gateway: Running, book: Book) -> None:
    await book.open("alice")
    shown = await shown_at(gateway, "alice", 1)
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice", at=resumed(viewer, "alice", shown))
        await viewer.follow("bob")
        await viewer.until_at("bob", 0)
        assert [one["channel"] for one in viewer.of_type("snapshot")] == ["account:bob"]
        await book.move("alice", 5)
        assert_shows(await viewer.until_at("alice", 3), book.page("alice"))


async def test_what_was_missed_comes_as_one_delta(gateway: Running, book: Book) -> None:
    await book.open("alice")
    await book.move("alice", 1)
    shown = await shown_at(gateway, "alice", 3)
    await book.move("alice", 2, 3)
    await book.write({"alice": [4]})
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice", at=resumed(viewer, "alice", shown))
        assert_shows(await viewer.until_at("alice", 8), book.page("alice"))
        assert not viewer.of_type("snapshot")
        assert len(viewer.of_type("delta")) == 1


async def test_much_comes_in_pages(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(recovery_page_rows=10)
    await book.open("alice")
    shown = await shown_at(gateway, "alice", 1)
    await book.move("alice", *range(1, 36))
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice", at=resumed(viewer, "alice", shown))
        assert_shows(await viewer.until_at("alice", 71), book.page("alice"))
        deltas = viewer.of_type("delta")
        assert [len(one["transfers"]) for one in deltas] == [10, 10, 10, 5]
        assert all(one["to"] == one["transfers"][-1]["revision"] for one in deltas[:-1])
        assert ["balance" in one for one in deltas] == [False, False, False, True]


async def test_too_far_is_a_snapshot_whose_gap_rest_fills(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(recovery_max_revisions=100)
    await book.open("alice")
    shown = await shown_at(gateway, "alice", 1)
    await book.move("alice", *range(1, 71))
    async with (
        Viewer(gateway.ws) as viewer,
        httpx.AsyncClient(base_url=gateway.http, headers=bearer()) as http,
    ):
        await viewer.follow("alice", at=resumed(viewer, "alice", shown))
        await viewer.until_at("alice", 141)
        snapshot = viewer.of_type("snapshot")[0]
        assert (snapshot["reason"], snapshot["gap"]) == ("too_far", {"from": 1, "to": 141})
        assert len(snapshot["transfers"]) == 50
        filled: list[dict[str, Any]] = []
        after = "1"
        while after:
            path = f"/api/v1/accounts/alice/transfers?after_revision={after}&limit=30"
            page = (await http.get(path)).json()
            filled, after = filled + page["transfers"], page["next"]
        assert [one["id"] for one in filled] == [one.id for one in book.page("alice").transfers]


async def test_one_ahead_of_the_truth_is_reset(gateway: Running, book: Book) -> None:
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice", at={"epoch": book.epoch, "revision": 1000})
        await viewer.until_at("alice", 1)
        assert viewer.of_type("snapshot")[0]["reason"] == "ahead"


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        ({"epoch": "00000000000000b2", "revision": 1}, "epoch"),
        ({"epoch": "never given out", "revision": 1}, "subscribed"),
        ({"epoch": "00000000000000a1", "revision": -5}, "subscribed"),
    ],
)
async def test_a_strange_position_is_answered(
    gateway: Running, book: Book, position: dict[str, Any], reason: str
) -> None:
    await book.open("alice")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice", at=position)
        await viewer.until_at("alice", 1)
        assert viewer.of_type("snapshot")[0]["reason"] == reason


async def test_a_new_epoch_reaches_those_who_are_connected(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.2)
    await book.open("alice", "quiet")
    async with Viewer(gateway.ws) as viewer:
        await viewer.follow("alice", "quiet")
        await viewer.until(lambda: len(viewer.shown) == 2)
        await book.change_epoch("00000000000000b2")
        await book.move("alice", 5)  # a delta of the new epoch, at once
        await viewer.until(lambda: len(viewer.of_type("snapshot")) == 4)
        assert {one["reason"] for one in viewer.of_type("snapshot")[2:]} == {"epoch"}
        await book.move("alice", 6)
        await viewer.until_at("alice", 5)
        assert {one.position and one.position["epoch"] for one in viewer.shown.values()} == {book.epoch}


async def test_an_unknown_server_is_unavailable(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.2)
    await book.open("alice")
    await book.execute("update projection set timeline = 'FFFFFFFF'")
    async with (
        Viewer(gateway.ws) as viewer,
        httpx.AsyncClient(base_url=gateway.http, headers=bearer()) as http,
    ):
        await viewer.follow("alice")
        await viewer.until(lambda: viewer.of_type("error"))
        error = viewer.of_type("error")[0]
        assert (error["code"], error["channel"], error["temporary"]) == ("unavailable", "account:alice", True)
        assert error["retry_after_ms"] > 0
        answer = await http.get("/api/v1/accounts/alice")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"]
        await viewer.until(lambda: viewer.of_type("status")[-1]["state"] == "stalled")
        await book.execute("update projection set timeline = server_identity.timeline from server_identity")
        await viewer.follow("alice")
        await viewer.until_at("alice", 1)
