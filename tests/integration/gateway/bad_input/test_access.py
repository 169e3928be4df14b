"""Accounts that a client may not see, and access that is revoked while a client is connected."""

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


# --- row 13: accounts that the client may not see


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries, with their arguments, of all gateways that start after this fixture."""
    logged: list[str] = []

    async def log_queries(connection: Any) -> None:
        connection.add_query_logger(lambda query: logged.append(f"{query.query} {query.args}"))

    monkeypatch.setattr(asyncpg, "create_pool", partial(asyncpg.create_pool, setup=log_queries))
    return logged


async def test_row_13_hidden_account_gets_no_access_without_a_query(
    queries: list[str], make_scene: MakeScene
) -> None:
    """The answer and the queries are the same, whether the account exists or not."""
    scene = await make_scene()
    await scene.projector.open("alice", "EU-1", "secret")
    async with WebSocketClient(scene.gateway.ws, token=token(["alice", "EU-*"])) as client:
        await client.subscribe("alice", "EU-1", "EU-2", "secret", "nowhere")
        await client.until_at("alice", 1)
        await client.until_at("EU-1", 1)
        await client.until_at("EU-2", 0)  # the client may see it, but it does not exist yet
        await client.until(lambda: client.of_type("ok"))
        errors = client.of_type("error")
        assert [error.pop("channel") for error in errors] == ["account:secret", "account:nowhere"]
        assert errors[0] == errors[1]
        assert errors[0]["code"] == "no_access"
        await scene.projector.transfer("secret", 5)
        await scene.projector.transfer("alice", 5)
        await client.until_at("alice", 3)
        assert "secret" not in client.shown
    await scene.assert_neighbour_unaffected()
    lines = scene.log.events()
    assert [(line["event"], line["code"]) for line in lines] == [("message rejected", "no_access")] * 2
    scene.assert_log("secret", "nowhere", lines=2)
    await assert_same_by_rest(scene)
    assert any("alice" in query for query in queries)
    assert not [query for query in queries if "secret" in query or "nowhere" in query]


async def assert_same_by_rest(scene: Scene) -> None:
    async with httpx.AsyncClient(base_url=f"{scene.gateway.http}/api/v1", timeout=30) as http:
        headers = bearer(token(["alice", "EU-*"]))
        paths = ("", "/transfers", "/transfers?after_revision=0", "/transfers/t-0")
        responses = [
            await http.get(f"/accounts/{name}{path}", headers=headers)
            for name in ("secret", "nowhere")
            for path in paths
        ]
        assert (await http.get("/accounts/alice", headers=headers)).status_code == 200
    assert {response.status_code for response in responses} == {403}
    assert len({response.content for response in responses}) == 1
    assert responses[0].json()["code"] == "no_access"
    await scene.assert_neighbour_unaffected()
    scene.assert_log("secret", "nowhere", lines=len(responses))


async def test_row_13_repeated_no_access_closes_with_4013(make_scene: MakeScene) -> None:
    """The limit is that of row 24: 50 errors per minute."""
    scene = await make_scene(message_rate=1000)
    async with WebSocketClient(scene.gateway.ws, token=token(["alice"])) as client:
        for number in range(52):
            await client.subscribe(f"guess-{number}")
        assert reason(await client.until_closed()) == (4013, "rate_limited")
    await scene.assert_neighbour_unaffected()
    lines = scene.log.events()
    assert {line["event"] for line in lines} <= {"message rejected", "connection closed"}
    scene.assert_log("guess", lines=len(lines))


async def test_row_13_message_with_many_accounts_without_access_is_one_error(make_scene: MakeScene) -> None:
    """Such as a list of accounts from a colleague, who may see more."""
    scene = await make_scene()
    await scene.projector.open("alice")
    async with WebSocketClient(scene.gateway.ws, token=token(["alice"])) as client:
        await client.subscribe("alice", *(f"other-{number}" for number in range(99)))
        await client.until(lambda: len(client.of_type("error")) == 99)
        await client.until_at("alice", 1)


# --- rows 14 and 15: revocations


class Operator:
    """Revokes access, and announces it to gateways by Redis unless `publishes` is false."""

    def __init__(self, connection: Any, publisher: redis.asyncio.Redis, channel: str) -> None:
        self._connection, self._publisher, self._channel = connection, publisher, channel
        self.publishes = True

    async def revoke(
        self, subject: str | None = None, login: str | None = None, account: str | None = None
    ) -> None:
        account_id = None if account is None else AccountId(account)
        await revoke(self._connection, subject, login, account_id, "a test")
        if self.publishes:
            await self._publisher.publish(self._channel, "")


@pytest.fixture
async def operator(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[Operator]:
    connection = await asyncpg.connect(database.url("operator"))
    publisher = redis.asyncio.from_url(redis_url)
    yield Operator(connection, publisher, redis_revocation_channel(channel_prefix))
    await publisher.aclose()
    await connection.close()


@pytest.fixture(params=["published", "polled"])
async def with_accounts(request: pytest.FixtureRequest, make_scene: MakeScene, operator: Operator) -> Scene:
    """A gateway with two accounts, which learns of revocations only from Redis, or only by polling."""
    operator.publishes = request.param == "published"
    scene = await make_scene(revocation_poll_seconds=3600.0) if operator.publishes else await make_scene()
    await scene.projector.open("alice", "bob")
    return scene


async def subscribe(client: WebSocketClient) -> None:
    await client.subscribe("alice", "bob")
    await client.until_at("alice", 1)
    await client.until_at("bob", 1)


def frames_of(client: WebSocketClient, account: str) -> list[Frame]:
    return [frame for frame in data(client) if frame.get("channel") == f"account:{account}"]


@pytest.mark.parametrize(
    "scope", [{"subject": "me"}, {"login": "phone"}, {}], ids=["subject", "login", "all"]
)
async def test_row_14_revoked_account_is_unsubscribed(
    with_accounts: Scene, operator: Operator, scope: dict[str, str]
) -> None:
    async with (
        WebSocketClient(with_accounts.gateway.ws, token=token(sub="me", sid="phone")) as me,
        WebSocketClient(with_accounts.gateway.ws, token=token(sub="you")) as you,
    ):
        await subscribe(me)
        await subscribe(you)
        await operator.revoke(account="alice", **scope)
        await me.until(lambda: me.of_type("unsubscribed"))
        unsubscribed = me.of_type("unsubscribed")[0]
        assert (unsubscribed["channel"], unsubscribed["code"]) == ("account:alice", "revoked")
        if not scope:
            await you.until(lambda: you.of_type("unsubscribed"))
        count = len(frames_of(me, "alice"))
        await with_accounts.projector.transfer("alice", 5)
        await with_accounts.projector.transfer("bob", 5)
        await me.until_at("bob", 3)
        await you.until_at("bob", 3)
        assert len(frames_of(me, "alice")) == count
        assert you.revision("alice") == (3 if scope else 1)
        await me.subscribe("alice")
        await me.until(lambda: me.of_type("error"))
        assert me.of_type("error")[0]["code"] == "no_access"
    await with_accounts.assert_logged("message rejected", "alice", "phone", code="no_access")


async def test_row_14_revoked_subject_is_disconnected(with_accounts: Scene, operator: Operator) -> None:
    async with (
        WebSocketClient(with_accounts.gateway.ws, token=token(sub="me-1")) as me,
        WebSocketClient(with_accounts.gateway.ws, token=token(sub="you")) as you,
        httpx.AsyncClient(base_url=f"{with_accounts.gateway.http}/api/v1", timeout=30) as http,
    ):
        await subscribe(me)
        await subscribe(you)
        await operator.revoke(subject="me-1")
        assert reason(await me.until_closed()) == REVOKED
        await with_accounts.assert_logged("connection closed", "me-1", code=4503, reason="revoked")
        response = await http.get("/accounts", headers=bearer(token(sub="me-1")))
        assert (response.status_code, response.json()["code"]) == (401, "revoked")
        await with_accounts.assert_logged("error response sent", "me-1", status=401)
        async with WebSocketClient(with_accounts.gateway.ws, token=token(sub="me-1")) as again:
            assert reason(await again.until_closed()) == REVOKED
        await with_accounts.assert_logged("connection closed", "me-1", code=4503, reason="revoked")
        await with_accounts.projector.transfer("alice", 5)
        await you.until_at("alice", 3)


async def test_row_14_revocation_before_the_start_of_a_gateway_applies(
    start_gateway: StartGateway, operator: Operator
) -> None:
    await operator.revoke("me")
    gateway: RunningGateway = await start_gateway()
    async with WebSocketClient(gateway.ws, token=token(sub="me")) as client:
        assert reason(await client.until_closed()) == REVOKED


async def test_row_15_revoked_login_closes_all_its_sessions(with_accounts: Scene, operator: Operator) -> None:
    """Other logins of the same user stay."""
    url = with_accounts.gateway.ws
    async with (
        WebSocketClient(url, token=token(sub="me", sid="phone-1")) as phone,
        WebSocketClient(url, token=token(sub="me", sid="phone-1")) as tab,
        WebSocketClient(url, token=token(sub="me", sid="desk")) as desk,
    ):
        for client in (phone, tab, desk):
            await subscribe(client)
        await operator.revoke(login="phone-1")
        assert reason(await phone.until_closed()) == REVOKED
        assert reason(await tab.until_closed()) == REVOKED
        await with_accounts.projector.transfer("alice", 5)
        await desk.until_at("alice", 3)
    await with_accounts.assert_neighbour_unaffected()
    lines = with_accounts.log.events()
    assert [(line["event"], line["code"]) for line in lines] == [("connection closed", 4503)] * 2
    with_accounts.assert_log("phone-1", lines=2)


# --- row 26: too many connections of a user


async def test_row_26_eleventh_connection_of_a_user_closes_with_4505(scene: Scene) -> None:
    """The ten older connections stay. Another user, and this user later, can still connect."""
    clients = [WebSocketClient(scene.gateway.ws, token=token(sub="me-26")) for _ in range(10)]
    try:
        for client in clients:
            await client.__aenter__()
            await client.until(lambda client=client: client.of_type("welcome"))
        async with WebSocketClient(scene.gateway.ws, token=token(sub="me-26")) as eleventh:
            assert reason(await eleventh.until_closed()) == (4505, "too_many_connections")
        await scene.assert_logged("connection closed", "me-26", code=4505, reason="too_many_connections")
        async with WebSocketClient(scene.gateway.ws, token=token(sub="you")) as other:
            await other.until(lambda: other.of_type("welcome"))
        for client in clients:
            await client.request("ping")
            await client.until(lambda client=client: client.of_type("ok"))
    finally:
        for client in clients:
            await client.__aexit__(None, None, None)
    await scene.gateway.until_sessions(1)  # the neighbour
    async with WebSocketClient(scene.gateway.ws, token=token(sub="me-26")) as again:
        await again.until(lambda: again.of_type("welcome"))
