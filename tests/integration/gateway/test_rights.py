"""Who is let in, what each may see, and how that ends: by its time, by another token, by an operator."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
import redis.asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from websockets.exceptions import InvalidStatus

from livebalance.gateway.app import serve
from livebalance.gateway.settings import Settings
from livebalance.readmodel.revocations import revoke
from livebalance.runtime.run import RefusedError
from livebalance.stack.database import Database
from livebalance.wire.delta import redis_revoked
from livebalance.wire.identity import AccountId
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.viewer import Frame, Viewer
from tests.tokens import bearer, claims, signed, token

ORIGIN = "https://bank.example"


def reason(closed: tuple[int, str]) -> tuple[int, str]:
    return closed[0], json.loads(closed[1])["code"]


def data(viewer: Viewer) -> list[Frame]:
    return [one for one in viewer.frames if one["type"] not in ("status", "heartbeat")]


# --- the first message


async def test_a_token_opens_the_door(gateway: Running, book: Book) -> None:
    async with Viewer(gateway.ws, shows=None) as viewer:
        shown = claims()
        await viewer.send(json.dumps({"type": "auth", "token": signed(shown)}))
        await viewer.until(lambda: viewer.of_type("welcome"))
        told = viewer.of_type("welcome")[0]["expires_at"]
        assert told == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(shown["exp"]))


async def test_nothing_is_told_before(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(auth_within=0.5, heartbeat=0.1)
    async with Viewer(gateway.ws, shows=None) as viewer:
        assert reason(await viewer.until_closed()) == (4501, "unauthenticated")
        assert viewer.frames == []


@pytest.mark.parametrize(
    "text", ['{"type":"ping","id":1}', "hello", '{"type":"auth"}', '{"type":"subscribe"']
)
async def test_another_first_message_is_the_last(gateway: Running, text: str) -> None:
    async with Viewer(gateway.ws, shows=None) as viewer:
        await viewer.send(text)
        assert reason(await viewer.until_closed()) == (4501, "unauthenticated")
        assert viewer.frames == []


async def test_a_token_is_shown_once(gateway: Running) -> None:
    async with Viewer(gateway.ws) as viewer:
        await viewer.send(json.dumps({"type": "auth", "token": token()}))
        await viewer.until(lambda: viewer.of_type("error"))
        assert viewer.of_type("error")[0]["code"] == "bad_message"


# --- the cookie


def cookie(value: str, origin: str | None = ORIGIN) -> dict[str, Any]:
    headers = {"Cookie": f"theme=dark; livebalance={value}"}
    return {"shows": None, "additional_headers": headers, **({"origin": origin} if origin else {})}


async def test_a_cookie_speaks_for_a_page_of_ours(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(origins=(ORIGIN,))
    await book.open("alice", "bob")
    async with Viewer(gateway.ws, **cookie(token(["alice"]))) as viewer:
        await viewer.follow("alice", "bob")
        await viewer.until_at("alice", 1)
        assert [one["code"] for one in viewer.of_type("error")] == ["no_access"]


@pytest.mark.parametrize("origin", [None, "https://evil.example", "https://bank.example.evil", "null"])
async def test_a_cookie_speaks_for_nobody_else(start_gateway: StartGateway, origin: str | None) -> None:
    gateway = await start_gateway(origins=(ORIGIN,))
    with pytest.raises(InvalidStatus) as refused:
        await Viewer(gateway.ws, **cookie(token(), origin)).__aenter__()
    assert refused.value.response.status_code == 403


async def test_what_is_said_goes_before_a_cookie(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(origins=(ORIGIN,), auth_within=1.0)
    await book.open("alice", "bob")
    for old in (token(["alice"]), "stale"):
        async with Viewer(gateway.ws, **{**cookie(old), "shows": token(["bob"])}) as viewer:
            await viewer.follow("alice", "bob")
            await viewer.until_at("bob", 1)
            assert [one["channel"] for one in viewer.of_type("error")] == ["account:alice"]
            assert len(viewer.of_type("welcome")) == 1
    async with Viewer(gateway.ws, **cookie(signed(claims(exp=int(time.time()) - 100)))) as viewer:
        assert reason(await viewer.until_closed()) == (4001, "token_expired")


# --- what one may see


async def test_what_one_may_not_see_looks_alike_whether_it_is_there_or_not(
    gateway: Running, book: Book
) -> None:
    await book.open("alice", "EU-1", "secret")
    async with Viewer(gateway.ws, shows=token(["alice", "EU-*"])) as viewer:
        await viewer.follow("alice", "EU-1", "EU-2", "secret", "nowhere")
        await viewer.until_at("alice", 1)
        await viewer.until_at("EU-1", 1)
        await viewer.until_at("EU-2", 0)  # one may see it, and there is none yet
        await viewer.until(lambda: viewer.of_type("ok"))
        errors = viewer.of_type("error")
        assert [one.pop("channel") for one in errors] == ["account:secret", "account:nowhere"]
        assert errors[0] == errors[1]
        assert errors[0]["code"] == "no_access"
        await book.move("secret", 5)
        await book.move("alice", 5)
        await viewer.until_at("alice", 3)
        assert "secret" not in viewer.shown


async def test_asking_for_what_one_may_not_see_ends(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(messages_per_second=1000)
    async with Viewer(gateway.ws, shows=token(["alice"])) as viewer:
        await viewer.follow(*(f"guess-{number}" for number in range(52)))
        assert reason(await viewer.until_closed()) == (4013, "rate_limited")


async def test_rest_obeys_the_same(gateway: Running, book: Book) -> None:
    await book.open("alice", "EU-1", "EU-2", "EX", "secret")
    async with httpx.AsyncClient(base_url=f"{gateway.http}/api/v1") as http:
        mine = bearer(token(["alice", "EU-*"]))
        listed = (await http.get("/accounts", headers=mine)).json()["accounts"]
        assert [one["account"] for one in listed] == ["EU-1", "EU-2", "alice"]
        found = (await http.get("/accounts", headers=mine, params={"prefix": "EU", "limit": "1"})).json()
        assert ([one["account"] for one in found["accounts"]], found["next"]) == (["EU-1"], "EU-1")
        assert (await http.get("/accounts/alice", headers=mine)).status_code == 200
        answers = [await http.get(f"/accounts/{name}", headers=mine) for name in ("secret", "nowhere")]
        answers += [await http.get(f"/accounts/{n}/transfers", headers=mine) for n in ("secret", "nowhere")]
        assert {one.status_code for one in answers} == {403}
        assert len({one.content for one in answers}) == 1
        assert answers[0].json()["code"] == "no_access"


async def test_rest_says_what_is_wrong_with_a_token(gateway: Running, book: Book) -> None:
    expired = signed(claims(exp=int(time.time()) - 100))
    async with httpx.AsyncClient(base_url=f"{gateway.http}/api/v1") as http:
        for headers, code in [
            ({}, "unauthenticated"),
            (bearer("junk"), "unauthenticated"),
            ({"Authorization": "Basic abc"}, "unauthenticated"),
            (bearer(expired), "token_expired"),
        ]:
            answer = await http.get("/accounts", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, code)
            assert answer.headers["www-authenticate"].startswith("Bearer")
        by_cookie = await http.get("/accounts", headers={"Cookie": f"livebalance={token()}"})
        assert by_cookie.status_code == 200


# --- the end


async def test_a_token_ends_and_another_keeps_everything(gateway: Running, book: Book) -> None:
    await book.open("alice", "bob")
    me = {"sub": "me", "sid": "one"}
    async with Viewer(gateway.ws, shows=token(["alice", "bob"], 3, **me)) as viewer:
        await viewer.until(lambda: viewer.of_type("auth_expiring"))
        await viewer.follow("alice", "bob")
        await viewer.until_at("alice", 1)
        await viewer.until_at("bob", 1)
        ok = await viewer.ask("refresh", token=token(["alice"], 4, **me))
        await viewer.until(lambda: any(one["id"] == ok for one in viewer.of_type("ok")))
        left = viewer.of_type("unsubscribed")
        assert [(one["channel"], one["code"]) for one in left] == [("account:bob", "revoked")]
        await book.move("alice", 5)
        await viewer.until_at("alice", 3)
        assert reason(await viewer.until_closed()) == (4001, "token_expired")
        assert len(viewer.of_type("snapshot")) == 2
        assert len(viewer.of_type("auth_expiring")) == 2


async def test_a_refresh_is_for_the_same_subject(gateway: Running) -> None:
    for other, closed in [
        (token(sub="another"), (4501, "unauthenticated")),
        ("junk", (4501, "unauthenticated")),
        (signed(claims(sub="me", exp=int(time.time()) - 100)), (4001, "token_expired")),
    ]:
        async with Viewer(gateway.ws, shows=token(sub="me")) as viewer:
            await viewer.until(lambda: viewer.of_type("welcome"))
            await viewer.ask("refresh", token=other)
            assert reason(await viewer.until_closed()) == closed


async def test_a_user_has_its_number_of_sockets(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(sockets_per_user=2)
    mine = token(sub="me")
    async with Viewer(gateway.ws, shows=mine) as one, Viewer(gateway.ws, shows=mine) as two:
        await one.until(lambda: one.of_type("welcome"))
        await two.until(lambda: two.of_type("welcome"))
        async with Viewer(gateway.ws, shows=token(sub="me")) as third:
            assert reason(await third.until_closed()) == (4505, "too_many_connections")
        async with Viewer(gateway.ws, shows=token(sub="you")) as other:
            await other.until(lambda: other.of_type("welcome"))
        await one.ask("ping")
        await one.until(lambda: one.of_type("ok"))
    await gateway.until_sessions(0)
    async with Viewer(gateway.ws, shows=token(sub="me")) as again:
        await again.until(lambda: again.of_type("welcome"))


# --- an operator


class Operator:
    """Takes back what it names, and rings if it is to."""

    def __init__(self, sql: Any, bell: redis.asyncio.Redis, channel: str) -> None:
        self._sql, self._bell, self._channel = sql, bell, channel
        self.rings = True

    async def take_back(
        self, subject: str | None = None, login: str | None = None, account: AccountId | None = None
    ) -> None:
        await revoke(self._sql, subject, login, account, "a test")
        if self.rings:
            await self._bell.publish(self._channel, "")


@pytest.fixture
async def operator(database: Database, redis_url: str, channel_prefix: str) -> AsyncIterator[Operator]:
    sql = await asyncpg.connect(database.url("operator"))
    bell = redis.asyncio.from_url(redis_url)
    yield Operator(sql, bell, redis_revoked(channel_prefix))
    await bell.aclose()
    await sql.close()


@pytest.mark.parametrize("rings", [True, False])
async def test_what_is_revoked_ends_within_seconds_with_or_without_redis(
    start_gateway: StartGateway, book: Book, operator: Operator, rings: bool
) -> None:
    operator.rings = rings
    gateway = await start_gateway(revocations_period=60.0 if rings else 0.5)
    await book.open("alice", "bob")
    async with (
        Viewer(gateway.ws, shows=token(sub="me", sid="phone")) as phone,
        Viewer(gateway.ws, shows=token(sub="me", sid="desk")) as desk,
        Viewer(gateway.ws, shows=token(sub="you")) as you,
        httpx.AsyncClient(base_url=f"{gateway.http}/api/v1") as http,
    ):
        for viewer in (phone, desk, you):
            await viewer.follow("alice", "bob")
            await viewer.until_at("bob", 1)

        await operator.take_back(login="phone")
        assert reason(await phone.until_closed(5)) == (4503, "revoked")
        await operator.take_back(subject="me", account=AccountId("alice"))
        await desk.until(lambda: desk.of_type("unsubscribed"), 5)
        gone = desk.of_type("unsubscribed")[0]
        assert (gone["channel"], gone["code"]) == ("account:alice", "revoked")
        seen = len([one for one in data(desk) if one.get("channel") == "account:alice"])
        await book.move("alice", 5)
        await book.move("bob", 5)
        await you.until_at("alice", 3)
        await desk.until_at("bob", 3)
        assert len([one for one in data(desk) if one.get("channel") == "account:alice"]) == seen
        await desk.follow("alice")
        await desk.until(lambda: desk.of_type("error"))
        assert desk.of_type("error")[0]["code"] == "no_access"
        await operator.take_back(subject="me")
        assert reason(await desk.until_closed(5)) == (4503, "revoked")
        answer = await http.get("/accounts", headers=bearer(token(sub="me")))
        assert (answer.status_code, answer.json()["code"]) == (401, "revoked")
        async with Viewer(gateway.ws, shows=token(sub="me")) as again:
            assert reason(await again.until_closed()) == (4503, "revoked")
        await you.ask("ping")
        await you.until(lambda: len(you.of_type("ok")) == 2)


async def test_what_was_revoked_before_a_gateway_started_stays_so(
    start_gateway: StartGateway, operator: Operator
) -> None:
    await operator.take_back("me")
    gateway = await start_gateway()
    async with Viewer(gateway.ws, shows=token(sub="me")) as viewer:
        assert reason(await viewer.until_closed()) == (4503, "revoked")


# --- keys


class Issuer:
    """Whoever publishes keys: a page of them, at will."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.reads = 0
        self.asked = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"keys": self.keys}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        self.reads += 1
        self.asked.set()


async def test_keys_at_an_address_are_read_and_rotate(start_gateway: StartGateway, monkeypatch: Any) -> None:
    monkeypatch.setattr("livebalance.gateway.keys.SOON", 0.2)
    issuer = Issuer()
    old, new = (rsa.generate_private_key(65537, 2048) for _ in range(2))

    def public(key: rsa.RSAPrivateKey, id_: str) -> dict[str, Any]:
        return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": id_}

    def by(key: rsa.RSAPrivateKey, id_: str) -> str:
        return jwt.encode(claims(iss="bank", aud="balances"), key, "RS256", {"kid": id_})

    issuer.keys = [public(old, "old")]
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gateway = await start_gateway(
        demo_secret=None, jwks_url=f"http://127.0.0.1:{port}/keys", issuer="bank", audience="balances"
    )
    async with Viewer(gateway.ws, shows=by(old, "old")) as viewer:
        await viewer.until(lambda: viewer.of_type("welcome"))
    issuer.keys = [public(new, "new")]
    issuer.asked.clear()
    await asyncio.sleep(0.25)  # a key that is missing sooner is taken for missing at the address too
    async with Viewer(gateway.ws, shows=by(new, "new")) as viewer:
        code, text = await viewer.until_closed()
        assert (code, json.loads(text)["code"]) == (4013, "keys_missing")
        assert 1000 <= json.loads(text)["retry_after_ms"] <= 2000
    await asyncio.wait_for(issuer.asked.wait(), 5)
    async with asyncio.timeout(5):
        while True:
            async with Viewer(gateway.ws, shows=by(new, "new")) as viewer:
                await viewer.until(lambda: viewer.frames or viewer.closed)
                if viewer.of_type("welcome"):
                    break
    async with Viewer(gateway.ws, shows=by(old, "old")) as viewer:
        assert (await viewer.until_closed())[0] in (4501, 4013)
    reads = issuer.reads
    for number in range(20):
        async with Viewer(gateway.ws, shows=by(new, f"guess-{number}")) as viewer:
            assert (await viewer.until_closed())[0] in (4501, 4013)
    assert issuer.reads <= reads + 10  # not once for each
    server.close()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "LIVEBALANCE_JWKS"),
        ({"jwks": '{"keys":[]}'}, "LIVEBALANCE_ISSUER"),
        ({"jwks": "{", "issuer": "bank"}, "LIVEBALANCE_JWKS"),
        ({"jwks": '{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}', "issuer": "bank"}, "32 bytes"),
        ({"demo_secret": "short"}, "32 bytes"),
        ({"demo_secret": "x" * 40, "jwks_url": "http://127.0.0.1/"}, "LIVEBALANCE_DEMO_SECRET"),
    ],
)
async def test_without_good_keys_a_gateway_does_not_start(given: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError, match=says):
        await serve(Settings(**given), asyncio.Event())
