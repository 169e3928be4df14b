"""What one may not see, and what one may see no longer: alike for all, at once, and nobody else notices."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest
import redis.asyncio

from livebalance.readmodel.revocations import revoke
from livebalance.wire.delta import redis_revocation_channel
from livebalance.wire.identity import AccountId
from tests.integration.gateway.bad_input.conftest import MakeScene, Scene
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.test_auth import data, reason
from tests.integration.gateway.websocket_client import Frame, WebSocketClient
from tests.servers.database import Database
from tests.tokens import bearer, token

REVOKED = (4503, "revoked")
WITHIN = 5.0  # seconds from the moment it was taken back


# --- row 13: another's, or nobody's


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that Postgres is asked by gateways that start from now on, with all that it names."""
    found: list[str] = []

    async def listen(connection: Any) -> None:
        connection.add_query_logger(lambda one: found.append(f"{one.query} {one.args}"))

    monkeypatch.setattr(asyncpg, "create_pool", partial(asyncpg.create_pool, setup=listen))
    return found


async def test_row_13_an_account_one_may_not_see_is_not_looked_for(
    asked: list[str], make_scene: MakeScene
) -> None:
    """The same answer for the same work, whether there is one or not: none of it is for that account."""
    scene = await make_scene()
    await scene.projector.open("alice", "EU-1", "secret")
    async with WebSocketClient(scene.gateway.ws, token=token(["alice", "EU-*"])) as client:
        await client.subscribe("alice", "EU-1", "EU-2", "secret", "nowhere")
        await client.until_at("alice", 1)
        await client.until_at("EU-1", 1)
        await client.until_at("EU-2", 0)  # one may see it, and there is none yet
        await client.until(lambda: client.of_type("ok"))
        errors = client.of_type("error")
        assert [one.pop("channel") for one in errors] == ["account:secret", "account:nowhere"]
        assert errors[0] == errors[1]
        assert errors[0]["code"] == "no_access"
        await scene.projector.transfer("secret", 5)
        await scene.projector.transfer("alice", 5)
        await client.until_at("alice", 3)
        assert "secret" not in client.shown
    await scene.assert_neighbour_unaffected()
    told = scene.log.events()
    assert [(line["event"], line["code"]) for line in told] == [("message rejected", "no_access")] * 2
    scene.assert_log("secret", "nowhere", lines=2)
    await same_by_rest(scene)
    asked_for_mine = [one for one in asked if "alice" in one]
    assert asked_for_mine
    assert not [one for one in asked if "secret" in one or "nowhere" in one]


async def same_by_rest(scene: Scene) -> None:
    async with httpx.AsyncClient(base_url=f"{scene.gateway.http}/api/v1") as http:
        mine = bearer(token(["alice", "EU-*"]))
        paths = ("", "/transfers", "/transfers?after_revision=0", "/transfers/t-0")
        answers = [
            await http.get(f"/accounts/{name}{path}", headers=mine)
            for name in ("secret", "nowhere")
            for path in paths
        ]
        assert (await http.get("/accounts/alice", headers=mine)).status_code == 200
    assert {one.status_code for one in answers} == {403}
    assert len({one.content for one in answers}) == 1
    assert answers[0].json()["code"] == "no_access"
    await scene.assert_neighbour_unaffected()
    scene.assert_log("secret", "nowhere", lines=len(answers))


async def test_row_13_who_goes_on_guessing_is_sent_away(make_scene: MakeScene) -> None:
    """As in row 24: 50 errors a minute."""
    scene = await make_scene(message_rate=1000)
    async with WebSocketClient(scene.gateway.ws, token=token(["alice"])) as client:
        await client.subscribe(*(f"guess-{number}" for number in range(52)))
        assert reason(await client.until_closed()) == (4013, "rate_limited")
    await scene.assert_neighbour_unaffected()
    told = scene.log.events()
    assert {line["event"] for line in told} <= {"message rejected", "closed", "lines left out"}
    scene.assert_log("guess", lines=len(told))


# --- rows 14 and 15: taken back


class Operator:
    """Takes back what it names, and rings if it is to."""

    def __init__(self, sql: Any, bell: redis.asyncio.Redis, channel: str) -> None:
        self._sql, self._bell, self._channel = sql, bell, channel
        self.rings = True

    async def take_back(
        self, subject: str | None = None, login: str | None = None, account: str | None = None
    ) -> None:
        named = None if account is None else AccountId(account)
        await revoke(self._sql, subject, login, named, "a test")
        if self.rings:
            await self._bell.publish(self._channel, "")


@pytest.fixture
async def operator(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[Operator]:
    sql = await asyncpg.connect(database.url("operator"))
    bell = redis.asyncio.from_url(redis_url)
    yield Operator(sql, bell, redis_revocation_channel(channel_prefix))
    await bell.aclose()
    await sql.close()


@pytest.fixture(params=["redis rings", "redis is silent"])
async def watched(request: pytest.FixtureRequest, make_scene: MakeScene, operator: Operator) -> Scene:
    """A gateway that hears of it by Redis alone, or by looking alone; alice and bob are there."""
    operator.rings = request.param == "redis rings"
    scene = await make_scene(revocation_poll_seconds=60.0) if operator.rings else await make_scene()
    await scene.projector.open("alice", "bob")
    return scene


async def following(scene: Scene, client: WebSocketClient) -> None:
    await client.subscribe("alice", "bob")
    await client.until_at("alice", 1)
    await client.until_at("bob", 1)


def of(client: WebSocketClient, account: str) -> list[Frame]:
    return [one for one in data(client) if one.get("channel") == f"account:{account}"]


@pytest.mark.parametrize(
    "whose", [{"subject": "me"}, {"login": "phone"}, {}], ids=["subject", "login", "all"]
)
async def test_row_14_an_account_is_taken_back_while_it_is_followed(
    watched: Scene, operator: Operator, whose: dict[str, str]
) -> None:
    async with (
        WebSocketClient(watched.gateway.ws, token=token(sub="me", sid="phone")) as me,
        WebSocketClient(watched.gateway.ws, token=token(sub="you")) as you,
    ):
        await following(watched, me)
        await following(watched, you)
        await operator.take_back(account="alice", **whose)
        await me.until(lambda: me.of_type("unsubscribed"), WITHIN)
        gone = me.of_type("unsubscribed")[0]
        assert (gone["channel"], gone["code"]) == ("account:alice", "revoked")
        if not whose:
            await you.until(lambda: you.of_type("unsubscribed"), WITHIN)
        seen = len(of(me, "alice"))
        await watched.projector.transfer("alice", 5)
        await watched.projector.transfer("bob", 5)
        await me.until_at("bob", 3)
        await you.until_at("bob", 3)
        assert len(of(me, "alice")) == seen
        assert you.revision("alice") == (3 if whose else 1)
        await me.subscribe("alice")
        await me.until(lambda: me.of_type("error"))
        assert me.of_type("error")[0]["code"] == "no_access"
    await watched.assert_logged("message rejected", "alice", "phone", code="no_access")


async def test_row_14_a_subject_is_taken_back_while_it_is_here(watched: Scene, operator: Operator) -> None:
    async with (
        WebSocketClient(watched.gateway.ws, token=token(sub="me-1")) as me,
        WebSocketClient(watched.gateway.ws, token=token(sub="you")) as you,
        httpx.AsyncClient(base_url=f"{watched.gateway.http}/api/v1") as http,
    ):
        await following(watched, me)
        await following(watched, you)
        await operator.take_back(subject="me-1")
        assert reason(await me.until_closed(WITHIN)) == REVOKED
        await watched.assert_logged("closed", "me-1", code=4503, reason="revoked")
        answer = await http.get("/accounts", headers=bearer(token(sub="me-1")))
        assert (answer.status_code, answer.json()["code"]) == (401, "revoked")
        await watched.assert_logged("answered no", "me-1", status=401)
        async with WebSocketClient(watched.gateway.ws, token=token(sub="me-1")) as again:
            assert reason(await again.until_closed()) == REVOKED
        await watched.assert_logged("closed", "me-1", code=4503, reason="revoked")
        await watched.projector.transfer("alice", 5)
        await you.until_at("alice", 3)


async def test_row_14_what_was_taken_back_before_a_gateway_started(
    start_gateway: StartGateway, operator: Operator
) -> None:
    await operator.take_back("me")
    gateway: RunningGateway = await start_gateway()
    async with WebSocketClient(gateway.ws, token=token(sub="me")) as client:
        assert reason(await client.until_closed()) == REVOKED


async def test_row_15_a_login_ends_on_every_screen(watched: Scene, operator: Operator) -> None:
    """And no other login of the same user."""
    url = watched.gateway.ws
    async with (
        WebSocketClient(url, token=token(sub="me", sid="phone-1")) as phone,
        WebSocketClient(url, token=token(sub="me", sid="phone-1")) as tab,
        WebSocketClient(url, token=token(sub="me", sid="desk")) as desk,
    ):
        for client in (phone, tab, desk):
            await following(watched, client)
        await operator.take_back(login="phone-1")
        async with asyncio.timeout(WITHIN):
            assert reason(await phone.until_closed()) == REVOKED
            assert reason(await tab.until_closed()) == REVOKED
        await watched.projector.transfer("alice", 5)
        await desk.until_at("alice", 3)
    await watched.assert_neighbour_unaffected()
    told = watched.log.events()
    assert [(line["event"], line["code"]) for line in told] == [("closed", 4503)] * 2
    watched.assert_log("phone-1", lines=2)


# --- row 26: too many of one user


async def test_row_26_the_eleventh_socket_of_a_user(scene: Scene) -> None:
    """The oldest stay. With one gone there is room again; another user always had it."""
    mine = [WebSocketClient(scene.gateway.ws, token=token(sub="me-26")) for _ in range(10)]
    try:
        for client in mine:
            await client.__aenter__()
            await client.until(lambda client=client: client.of_type("welcome"))
        async with WebSocketClient(scene.gateway.ws, token=token(sub="me-26")) as eleventh:
            assert reason(await eleventh.until_closed()) == (4505, "too_many_connections")
        await scene.assert_logged("closed", "me-26", code=4505, reason="too_many_connections")
        async with WebSocketClient(scene.gateway.ws, token=token(sub="you")) as other:
            await other.until(lambda: other.of_type("welcome"))
        for client in mine:
            await client.request("ping")
            await client.until(lambda client=client: client.of_type("ok"))
    finally:
        for client in mine:
            await client.__aexit__(None, None, None)
    await scene.gateway.until_sessions(1)  # the neighbour
    async with WebSocketClient(scene.gateway.ws, token=token(sub="me-26")) as again:
        await again.until(lambda: again.of_type("welcome"))
