"""Who shows no token, one in the wrong place, or a bad one: what need not be told apart is answered alike."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway.bad_input.conftest import MakeScene, Scene
from tests.integration.gateway.bad_input.raw import ACCOUNTS_HEAD, CRLF, HANDSHAKE_HEAD
from tests.integration.gateway.test_auth import ORIGIN, cookie, reason
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.tokens import ISSUER, SECRET, bearer, claims, sign, token
from tests.unit.gateway.test_rights import EC_KEY, FOREIGN, RSA_KEY, confused, made, public

STRANGER = (4501, '{"code":"unauthenticated","message":"not signed in"}')
EXPIRED = (4001, "token_expired")


# --- row 1: whose page it is


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "https://evil.example",
        f"{ORIGIN}.evil",
        "https://x.bank.example",
        "https://bank.example:444",
        "http://bank.example",
        "null",
    ],
)
async def test_row_01_a_cookie_speaks_for_nobody_else(make_scene: MakeScene, origin: str | None) -> None:
    scene = await make_scene(allowed_origins=(ORIGIN,))
    before = await scene.gateway.counter("rejected_requests", reason="origin")
    with pytest.raises(InvalidStatus) as refused:
        await WebSocketClient(scene.gateway.ws, **cookie(token(sub="payload"), origin)).__aenter__()
    assert refused.value.response.status_code == 403
    await scene.assert_logged("refused", "payload", "evil", "eyJ", reason="origin", status=403)
    assert await scene.gateway.counter("rejected_requests", reason="origin") == before + 1


async def test_row_01_two_origins_are_none(make_scene: MakeScene) -> None:
    scene = await make_scene(allowed_origins=(ORIGIN,))
    origins = f"Origin: {ORIGIN}\r\nOrigin: {ORIGIN}\r\n".encode()
    answer = await scene.send_request(HANDSHAKE_HEAD + origins + CRLF)
    assert (answer.status, answer.code) == (403, "origin")
    await scene.assert_logged("refused", reason="origin", status=403)


# --- row 8: nobody


async def test_row_08_who_does_not_say_who_it_is(make_scene: MakeScene) -> None:
    scene = await make_scene(auth_timeout_seconds=0.5, heartbeat_interval_seconds=0.1)
    async with WebSocketClient(scene.gateway.ws, token=None) as client:
        assert await client.until_closed() == STRANGER
        assert client.frames == []
    await scene.assert_logged("closed", code=4501, reason="unauthenticated")


async def test_row_08_five_seconds_unless_told() -> None:
    from livebalance.gateway.settings import Settings

    assert Settings().auth_timeout_seconds == 5.0


@pytest.mark.parametrize(
    "text", ['{"type":"ping","id":"payload"}', "payload", '{"type":"auth"}', '{"type":"subscribe"']
)
async def test_row_08_another_first_message_is_the_last(scene: Scene, text: str) -> None:
    async with WebSocketClient(scene.gateway.ws, token=None) as client:
        await client.send(text)
        assert await client.until_closed() == STRANGER
        assert client.frames == []
    await scene.assert_logged("closed", "payload", code=4501, reason="unauthenticated")


# --- row 9: in the address


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization", "x"])
async def test_row_09_a_token_in_the_address(scene: Scene, name: str) -> None:
    """Whatever the name; it is looked at by nobody, and stands in no log."""
    good = token()
    query = f"?{name}={good}".encode()
    answer = await scene.send_request(HANDSHAKE_HEAD.replace(b"/ws", b"/ws" + query) + CRLF)
    assert (answer.status, answer.code) == (400, "token_in_url")
    assert good.encode() not in answer.body
    await scene.assert_logged("refused", good, "eyJ", reason="token_in_url", status=400)
    for request in (ACCOUNTS_HEAD, ACCOUNTS_HEAD.partition(b"Authorization")[0]):
        answer = await scene.send_request(request.replace(b"accounts", b"accounts" + query) + CRLF)
        assert (answer.status, answer.code) == (400, "token_in_url")
        assert good.encode() not in answer.body
        await scene.assert_logged("answered no", good, "eyJ", status=400)


# --- row 10: forged

SET = [
    {"kty": "oct", "kid": "demo", "k": jwt.utils.base64url_encode(SECRET.encode()).decode()},
    public(RSA_KEY, "rsa-1"),
    public(EC_KEY, "ec-1"),
]
KEYS: dict[str, Any] = {"demo_secret": None, "jwks": json.dumps({"keys": SET}), "token_issuer": ISSUER}


def unsigned() -> str:
    return jwt.encode(claims(), "", "none", {"kid": "demo"})


def emptied() -> str:
    """A good one without its signature."""
    return token().rpartition(".")[0] + "."


def swapped() -> str:
    """Another's claims under a signature that was good."""
    head, _, mark = token(["alice"]).split(".")
    return f"{head}.{token().split('.')[1]}.{mark}"


FORGED: dict[str, Callable[[], str]] = {
    "another secret": lambda: sign(claims(), "another secret, long enough as well"),
    "none": unsigned,
    "no signature": emptied,
    "other claims": swapped,
    "a public key as a secret": confused,
    "another's key of our name": lambda: made(FOREIGN, "RS256", "rsa-1"),
    "a key nobody knows": lambda: made(FOREIGN, "RS256", "rsa-9"),
    "a name that is a path": lambda: made(FOREIGN, "RS256", "../../dev/null"),
    "a key of its own": lambda: jwt.encode(
        claims(), FOREIGN, "RS256", {"kid": "rsa-1", "jwk": public(FOREIGN, "rsa-1")}
    ),
    "a key for something else": lambda: made(SECRET, "HS256", "ec-1"),
    "another algorithm": lambda: made(SECRET * 2, "HS512", "demo"),
    "junk": lambda: "payload",
}


async def looks_unauthenticated(scene: Scene, bad: str) -> None:
    """On both ways, by the one answer for whatever is wrong with a token."""
    async with WebSocketClient(scene.gateway.ws, token=bad) as client:
        assert await client.until_closed() == STRANGER
        assert client.frames == []
    await scene.assert_logged("closed", bad, "payload", "eyJ", code=4501, reason="unauthenticated")
    async with httpx.AsyncClient(base_url=scene.gateway.http) as http:
        answer = await http.get("/api/v1/accounts/alice", headers=bearer(bad))
        nothing = await http.get("/api/v1/accounts/alice")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.content == nothing.content
    await scene.assert_neighbour_unaffected()
    lines = scene.log.events()
    assert [(line["event"], line["status"]) for line in lines] == [("answered no", 401)] * 2
    scene.assert_log(bad, "payload", "eyJ", lines=2)


@pytest.mark.parametrize("name", FORGED)
async def test_row_10_a_forged_token(make_scene: MakeScene, name: str) -> None:
    await looks_unauthenticated(await make_scene(**KEYS), FORGED[name]())


async def test_row_10_an_address_of_keys_is_not_asked(make_scene: MakeScene) -> None:
    asked = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as elsewhere:
        url = f"http://127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}/keys"
        scene = await make_scene(**KEYS)
        for header in ({"jku": url}, {"x5u": url}, {"jku": url, "kid": "rsa-1"}):
            await looks_unauthenticated(scene, jwt.encode(claims(), FOREIGN, "RS256", header))
    assert asked == []


async def test_row_10_the_good_ones_of_these_keys_are_let_in(make_scene: MakeScene) -> None:
    """So what is refused above is refused for what it is."""
    scene = await make_scene(**KEYS)
    for good in (made(RSA_KEY, "RS256", "rsa-1"), made(EC_KEY, "ES256", "ec-1"), token()):
        async with WebSocketClient(scene.gateway.ws, token=good) as client:
            await client.until(lambda client=client: client.of_type("welcome"))
    await scene.assert_neighbour_unaffected()
    scene.assert_log()


# --- row 11: not now, not here


def seconds(of_now: int) -> int:
    return int(time.time()) + of_now


ELSEWHERE: dict[str, Callable[[], str]] = {
    "not yet": lambda: sign(claims(nbf=seconds(3600))),
    "issued in the future": lambda: sign(claims(iat=seconds(3600), exp=seconds(7200))),
    "another audience": lambda: sign(claims(aud="shop")),
    "among other audiences none of ours": lambda: sign(claims(aud=["shop", "livebalance-x"])),
    "another issuer": lambda: sign(claims(iss="somebody")),
    "past its time, and of another audience": lambda: sign(claims(exp=seconds(-3600), aud="shop")),
    "an ID token": lambda: sign(claims(nonce="n")),
    "an ID token by its use": lambda: sign(claims(token_use="id")),
    "an ID token by its type": lambda: jwt.encode(claims(), SECRET, "HS256", {"typ": "id+jwt"}),
    "a refresh token by its type": lambda: jwt.encode(claims(), SECRET, "HS256", {"typ": "rt+jwt"}),
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_row_11_a_token_for_another_time_or_place(scene: Scene, name: str) -> None:
    await looks_unauthenticated(scene, ELSEWHERE[name]())


async def test_row_11_one_that_was_good_is_told_to_come_with_another(scene: Scene) -> None:
    late = sign(claims(exp=seconds(-100)))
    async with WebSocketClient(scene.gateway.ws, token=late) as client:
        assert reason(await client.until_closed()) == EXPIRED
    await scene.assert_logged("closed", late, "eyJ", code=4001, reason="token_expired")
    async with httpx.AsyncClient(base_url=scene.gateway.http) as http:
        answer = await http.get("/api/v1/accounts/alice", headers=bearer(late))
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")
    await scene.assert_logged("answered no", late, "eyJ", status=401)


# --- row 12: while the socket is open


async def test_row_12_it_is_told_before_and_another_token_keeps_everything(scene: Scene) -> None:
    await scene.projector.open("alice", "bob")
    me = {"sub": "me-12", "sid": "one"}
    async with WebSocketClient(scene.gateway.ws, token=token(["alice", "bob"], 3, **me)) as client:
        await client.until(lambda: client.of_type("auth_expiring"))
        await client.subscribe("alice", "bob")
        await client.until_at("alice", 1)
        await client.until_at("bob", 1)
        ok = await client.request("refresh", token=token(["alice"], 4, **me))
        await client.until(lambda: any(one["id"] == ok for one in client.of_type("ok")))
        left = client.of_type("unsubscribed")
        assert [(one["channel"], one["code"]) for one in left] == [("account:bob", "revoked")]
        await scene.projector.transfer("alice", 5)
        await client.until_at("alice", 3)
        assert reason(await client.until_closed()) == EXPIRED
        assert len(client.of_type("snapshot")) == 2
        assert len(client.of_type("auth_expiring")) == 2
    await scene.assert_logged("closed", "me-12", "eyJ", code=4001, reason="token_expired")


@pytest.mark.parametrize(
    ("other", "closed"),
    [
        (lambda: token(sub="payload"), (4501, "unauthenticated")),
        (lambda: "payload", (4501, "unauthenticated")),
        (lambda: sign(claims(sub="me", exp=seconds(-100))), EXPIRED),
    ],
    ids=["of another", "junk", "past its time"],
)
async def test_row_12_a_refresh_is_for_the_same_subject(
    scene: Scene, other: Any, closed: tuple[int, str]
) -> None:
    await scene.projector.open("alice")
    async with WebSocketClient(scene.gateway.ws, token=token(sub="me")) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        await client.request("refresh", token=other())
        assert reason(await client.until_closed()) == closed
    await scene.assert_logged("closed", "payload", "eyJ", code=closed[0], reason=closed[1])
