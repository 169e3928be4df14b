"""Missing, misplaced and invalid tokens. The answer does not say what is wrong with a token."""

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
from tests.unit.gateway.keys import (
    EC_KEY,
    FOREIGN_KEY,
    RSA_KEY,
    encode,
    public_jwk,
    signed_with_the_public_key,
)

UNAUTHENTICATED = (4501, '{"code":"unauthenticated","message":"not signed in"}')
EXPIRED = (4001, "token_expired")


# --- row 1: origins


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
async def test_row_01_cookie_from_another_origin_gets_403(make_scene: MakeScene, origin: str | None) -> None:
    scene = await make_scene(allowed_origins=(ORIGIN,))
    before = await scene.gateway.counter("rejected_requests", reason="origin")
    with pytest.raises(InvalidStatus) as rejected:
        await WebSocketClient(scene.gateway.ws, **cookie(token(sub="payload"), origin)).__aenter__()
    assert rejected.value.response.status_code == 403
    await scene.assert_logged("request rejected", "payload", "evil", "eyJ", reason="origin", status=403)
    assert await scene.gateway.counter("rejected_requests", reason="origin") == before + 1


async def test_row_01_two_origin_headers_get_403(make_scene: MakeScene) -> None:
    scene = await make_scene(allowed_origins=(ORIGIN,))
    origins = f"Origin: {ORIGIN}\r\nOrigin: {ORIGIN}\r\n".encode()
    response = await scene.send_request(HANDSHAKE_HEAD + origins + CRLF)
    assert (response.status, response.code) == (403, "origin")
    await scene.assert_logged("request rejected", reason="origin", status=403)


# --- row 8: no token


async def test_row_08_client_without_auth_message_is_closed_after_the_timeout(make_scene: MakeScene) -> None:
    scene = await make_scene(auth_timeout_seconds=0.5, heartbeat_interval_seconds=0.1)
    async with WebSocketClient(scene.gateway.ws, token=None) as client:
        assert await client.until_closed() == UNAUTHENTICATED
        assert client.frames == []
    await scene.assert_logged("connection closed", code=4501, reason="unauthenticated")


async def test_row_08_auth_timeout_is_five_seconds_by_default() -> None:
    from livebalance.gateway.settings import Settings

    assert Settings().auth_timeout_seconds == 5.0


@pytest.mark.parametrize(
    "text", ['{"type":"ping","id":"payload"}', "payload", '{"type":"auth"}', '{"type":"subscribe"']
)
async def test_row_08_other_first_message_closes_with_4501(scene: Scene, text: str) -> None:
    async with WebSocketClient(scene.gateway.ws, token=None) as client:
        await client.send(text)
        assert await client.until_closed() == UNAUTHENTICATED
        assert client.frames == []
    await scene.assert_logged("connection closed", "payload", code=4501, reason="unauthenticated")


# --- row 9: a token in the URL


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization", "x"])
async def test_row_09_token_in_the_url_gets_400_and_is_not_logged(scene: Scene, name: str) -> None:
    """The parameter's name does not matter. The token is not used, even if it is valid."""
    valid = token()
    query = f"?{name}={valid}".encode()
    response = await scene.send_request(HANDSHAKE_HEAD.replace(b"/ws", b"/ws" + query) + CRLF)
    assert (response.status, response.code) == (400, "token_in_url")
    assert valid.encode() not in response.body
    await scene.assert_logged("request rejected", valid, "eyJ", reason="token_in_url", status=400)
    for request in (ACCOUNTS_HEAD, ACCOUNTS_HEAD.partition(b"Authorization")[0]):
        response = await scene.send_request(request.replace(b"accounts", b"accounts" + query) + CRLF)
        assert (response.status, response.code) == (400, "token_in_url")
        assert valid.encode() not in response.body
        await scene.assert_logged("error response sent", valid, "eyJ", status=400)


# --- row 10: forged tokens

KEY_SET = [
    {"kty": "oct", "kid": "demo", "k": jwt.utils.base64url_encode(SECRET.encode()).decode()},
    public_jwk(RSA_KEY, "rsa-1"),
    public_jwk(EC_KEY, "ec-1"),
]
KEYS: dict[str, Any] = {"demo_secret": None, "jwks": json.dumps({"keys": KEY_SET}), "token_issuer": ISSUER}


def unsigned() -> str:
    return jwt.encode(claims(), "", "none", {"kid": "demo"})


def without_signature() -> str:
    """Returns a valid token without its signature."""
    return token().rpartition(".")[0] + "."


def with_other_claims() -> str:
    """Returns the signature of a valid token with the claims of another."""
    head, _, signature = token(["alice"]).split(".")
    return f"{head}.{token().split('.')[1]}.{signature}"


FORGED: dict[str, Callable[[], str]] = {
    "another secret": lambda: sign(claims(), "another secret, long enough as well"),
    "none": unsigned,
    "no signature": without_signature,
    "other claims": with_other_claims,
    "a public key as a secret": signed_with_the_public_key,
    "a foreign key with a known id": lambda: encode(FOREIGN_KEY, "RS256", "rsa-1"),
    "an unknown key id": lambda: encode(FOREIGN_KEY, "RS256", "rsa-9"),
    "a key id that is a path": lambda: encode(FOREIGN_KEY, "RS256", "../../dev/null"),
    "a key inside the token": lambda: jwt.encode(
        claims(), FOREIGN_KEY, "RS256", {"kid": "rsa-1", "jwk": public_jwk(FOREIGN_KEY, "rsa-1")}
    ),
    "a key for another algorithm": lambda: encode(SECRET, "HS256", "ec-1"),
    "an algorithm that is not allowed": lambda: encode(SECRET * 2, "HS512", "demo"),
    "junk": lambda: "payload",
}


async def assert_unauthenticated(scene: Scene, invalid: str) -> None:
    """Checks that WebSocket and REST reject the token, with the same answer as without a token."""
    async with WebSocketClient(scene.gateway.ws, token=invalid) as client:
        assert await client.until_closed() == UNAUTHENTICATED
        assert client.frames == []
    await scene.assert_logged(
        "connection closed", invalid, "payload", "eyJ", code=4501, reason="unauthenticated"
    )
    async with httpx.AsyncClient(base_url=scene.gateway.http, timeout=30) as http:
        response = await http.get("/api/v1/accounts/alice", headers=bearer(invalid))
        without_token = await http.get("/api/v1/accounts/alice")
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response.content == without_token.content
    await scene.assert_neighbour_unaffected()
    lines = scene.log.events()
    assert [(line["event"], line["status"]) for line in lines] == [("error response sent", 401)] * 2
    scene.assert_log(invalid, "payload", "eyJ", lines=2)


@pytest.mark.parametrize("name", FORGED)
async def test_row_10_forged_token_gets_unauthenticated(make_scene: MakeScene, name: str) -> None:
    await assert_unauthenticated(await make_scene(**KEYS), FORGED[name]())


async def test_row_10_key_url_in_the_token_is_not_requested(make_scene: MakeScene) -> None:
    connections = []

    async def handle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
        scene = await make_scene(**KEYS)
        for header in ({"jku": url}, {"x5u": url}, {"jku": url, "kid": "rsa-1"}):
            await assert_unauthenticated(scene, jwt.encode(claims(), FOREIGN_KEY, "RS256", header))
    assert connections == []


async def test_row_10_valid_tokens_of_the_same_keys_are_accepted(make_scene: MakeScene) -> None:
    """So the tokens above are not rejected for another reason."""
    scene = await make_scene(**KEYS)
    for valid in (encode(RSA_KEY, "RS256", "rsa-1"), encode(EC_KEY, "ES256", "ec-1"), token()):
        async with WebSocketClient(scene.gateway.ws, token=valid) as client:
            await client.until(lambda client=client: client.of_type("welcome"))
    await scene.assert_neighbour_unaffected()
    scene.assert_log()


# --- row 11: another time or audience


def in_seconds(seconds: int) -> int:
    """Returns the time in so many seconds, as a claim has it."""
    return int(time.time()) + seconds


UNUSABLE: dict[str, Callable[[], str]] = {
    "not yet": lambda: sign(claims(nbf=in_seconds(3600))),
    "issued in the future": lambda: sign(claims(iat=in_seconds(3600), exp=in_seconds(7200))),
    "another audience": lambda: sign(claims(aud="shop")),
    "several other audiences": lambda: sign(claims(aud=["shop", "livebalance-x"])),
    "another issuer": lambda: sign(claims(iss="somebody")),
    "expired, and for another audience": lambda: sign(claims(exp=in_seconds(-3600), aud="shop")),
    "an ID token": lambda: sign(claims(nonce="n")),
    "an ID token by its use": lambda: sign(claims(token_use="id")),
    "an ID token by its type": lambda: jwt.encode(claims(), SECRET, "HS256", {"typ": "id+jwt"}),
    "a refresh token by its type": lambda: jwt.encode(claims(), SECRET, "HS256", {"typ": "rt+jwt"}),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_row_11_token_for_another_time_or_audience_gets_unauthenticated(
    scene: Scene, name: str
) -> None:
    await assert_unauthenticated(scene, UNUSABLE[name]())


async def test_row_11_expired_token_gets_token_expired(scene: Scene) -> None:
    expired = sign(claims(exp=in_seconds(-100)))
    async with WebSocketClient(scene.gateway.ws, token=expired) as client:
        assert reason(await client.until_closed()) == EXPIRED
    await scene.assert_logged("connection closed", expired, "eyJ", code=4001, reason="token_expired")
    async with httpx.AsyncClient(base_url=scene.gateway.http, timeout=30) as http:
        response = await http.get("/api/v1/accounts/alice", headers=bearer(expired))
    assert (response.status_code, response.json()["code"]) == (401, "token_expired")
    await scene.assert_logged("error response sent", expired, "eyJ", status=401)


# --- row 12: expiry during a session


async def test_row_12_expiry_is_announced_and_refresh_keeps_subscriptions(scene: Scene) -> None:
    await scene.projector.open("alice", "bob")
    me = {"sub": "me-12", "sid": "one"}
    async with WebSocketClient(scene.gateway.ws, token=token(["alice", "bob"], 60, **me)) as client:
        await client.until(lambda: client.of_type("auth_expiring"))
        await client.subscribe("alice", "bob")
        await client.until_at("alice", 1)
        await client.until_at("bob", 1)
        request = await client.request("refresh", token=token(["alice"], 6, **me))
        await client.until(lambda: any(frame["id"] == request for frame in client.of_type("ok")))
        ended = client.of_type("unsubscribed")
        assert [(frame["channel"], frame["code"]) for frame in ended] == [("account:bob", "revoked")]
        await scene.projector.transfer("alice", 5)
        await client.until_at("alice", 3)
        assert reason(await client.until_closed()) == EXPIRED
        assert len(client.of_type("snapshot")) == 2
        assert len(client.of_type("auth_expiring")) == 2
    await scene.assert_logged("connection closed", "me-12", "eyJ", code=4001, reason="token_expired")


@pytest.mark.parametrize(
    ("other", "closed"),
    [
        (lambda: token(sub="payload"), (4501, "unauthenticated")),
        (lambda: "payload", (4501, "unauthenticated")),
        (lambda: sign(claims(sub="me", exp=in_seconds(-100))), EXPIRED),
    ],
    ids=["of another user", "junk", "expired"],
)
async def test_row_12_refresh_with_an_invalid_token_closes_the_session(
    scene: Scene, other: Any, closed: tuple[int, str]
) -> None:
    await scene.projector.open("alice")
    async with WebSocketClient(scene.gateway.ws, token=token(sub="me")) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        await client.request("refresh", token=other())
        assert reason(await client.until_closed()) == closed
    await scene.assert_logged("connection closed", "payload", "eyJ", code=closed[0], reason=closed[1])
