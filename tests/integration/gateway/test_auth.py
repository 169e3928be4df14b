"""Tokens in messages and cookies, the accounts they cover, and the keys that verify them."""

import asyncio
import contextlib
import json
import ssl
import time
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jwt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from websockets.exceptions import InvalidStatus

from livebalance.gateway.app import serve
from livebalance.gateway.server.http import HttpProtocol
from livebalance.gateway.settings import Settings
from livebalance.readmodel import account_pages, statements
from livebalance.readmodel.revocations import revoke
from livebalance.runtime.errors import StartupError
from livebalance.stack.paths import free_port
from livebalance.wire.identity import AccountId
from tests.integration.gateway.conftest import RunningGateway, StartGateway, readiness_with
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import Frame, WebSocketClient
from tests.servers.database import Database
from tests.tokens import bearer, claims, sign, token
from tests.unit.gateway.keys import EC_KEY, public_jwk

ORIGIN = "https://bank.example"


def reason(closed: tuple[int, str]) -> tuple[int, str]:
    """Returns the code and the reason of a close frame."""
    return closed[0], json.loads(closed[1])["code"]


def data(client: WebSocketClient) -> list[Frame]:
    """Returns the frames that a client got because of its own messages."""
    return [frame for frame in client.frames if frame["type"] not in ("status", "heartbeat")]


# --- the first message


async def test_welcome_has_the_expiry_of_the_token(gateway: RunningGateway, projector: FakeProjector) -> None:
    async with WebSocketClient(gateway.ws, token=None) as client:
        payload = claims()
        await client.send(json.dumps({"type": "auth", "token": sign(payload)}))
        await client.until(lambda: client.of_type("welcome"))
        expires_at = client.of_type("welcome")[0]["expires_at"]
        assert expires_at == time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(payload["exp"]))


async def test_second_auth_message_is_rejected(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.send(json.dumps({"type": "auth", "token": token()}))
        await client.until(lambda: client.of_type("error"))
        assert client.of_type("error")[0]["code"] == "bad_message"


# --- the cookie


def cookie(value: str, origin: str | None = ORIGIN) -> dict[str, Any]:
    headers = {"Cookie": f"theme=dark; livebalance={value}"}
    return {"token": None, "additional_headers": headers, **({"origin": origin} if origin else {})}


async def test_cookie_authenticates_a_page_of_an_allowed_origin(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(allowed_origins=(ORIGIN,))
    await projector.open("alice", "bob")
    async with WebSocketClient(gateway.ws, **cookie(token(["alice"]))) as client:
        await client.subscribe("alice", "bob")
        await client.until_at("alice", 1)
        assert [frame["code"] for frame in client.of_type("error")] == ["no_access"]


async def test_token_in_a_message_overrides_the_cookie(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(allowed_origins=(ORIGIN,), auth_timeout_seconds=1.0)
    await projector.open("alice", "bob")
    for value in (token(["alice"]), "stale"):
        async with WebSocketClient(gateway.ws, **{**cookie(value), "token": token(["bob"])}) as client:
            await client.subscribe("alice", "bob")
            await client.until_at("bob", 1)
            assert [frame["channel"] for frame in client.of_type("error")] == ["account:alice"]
            assert len(client.of_type("welcome")) == 1
    async with WebSocketClient(gateway.ws, **cookie(sign(claims(exp=int(time.time()) - 100)))) as client:
        assert reason(await client.until_closed()) == (4001, "token_expired")


# --- rights in REST


async def test_list_has_the_accounts_that_the_token_covers(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open("alice", "EU-1", "EU-2", "EX", "secret")
    async with httpx.AsyncClient(base_url=f"{gateway.http}/api/v1", timeout=30) as http:
        headers = bearer(token(["alice", "EU-*"]))
        listed = (await http.get("/accounts", headers=headers)).json()["accounts"]
        assert [account["account"] for account in listed] == ["EU-1", "EU-2", "alice"]
        page = (await http.get("/accounts", headers=headers, params={"prefix": "EU", "limit": "1"})).json()
        assert ([account["account"] for account in page["accounts"]], page["next"]) == (["EU-1"], "EU-1")


async def test_rest_answers_401_with_the_reason(gateway: RunningGateway, projector: FakeProjector) -> None:
    expired = sign(claims(exp=int(time.time()) - 100))
    async with httpx.AsyncClient(base_url=f"{gateway.http}/api/v1", timeout=30) as http:
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


async def revoke_and_wait(gateway: RunningGateway, database: Database, **target: Any) -> None:
    """Revokes rights of the subject `me`, and waits until the gateway has read that."""
    async with WebSocketClient(gateway.ws, token=token(sub="me")) as client:
        await client.subscribe("alice")
        await client.until(lambda: client.of_type("snapshot"))
        operator = await asyncpg.connect(database.url("operator"))
        try:
            await revoke(operator, "me", None, target.get("account"), "a test")
        finally:
            await operator.close()
        await client.until(lambda: client.of_type("unsubscribed") or client.closed)


async def test_rest_hides_a_revoked_account(
    start_gateway: StartGateway, projector: FakeProjector, database: Database
) -> None:
    gateway = await start_gateway(revocation_poll_seconds=0.1)
    await projector.open("alice", "bob")
    await revoke_and_wait(gateway, database, account=AccountId("alice"))
    async with httpx.AsyncClient(
        base_url=f"{gateway.http}/api/v1", headers=bearer(token(sub="me")), timeout=30
    ) as http:
        listed = (await http.get("/accounts")).json()["accounts"]
        assert [account["account"] for account in listed] == ["bob"]
        first = (await http.get("/accounts?limit=1")).json()
        assert ([account["account"] for account in first["accounts"]], first["next"]) == (["bob"], None)
        for path in ("/accounts/alice", "/accounts/alice/transfers"):
            answer = await http.get(path)
            assert answer.status_code == 403, path


async def test_rest_rejects_a_revoked_token(
    start_gateway: StartGateway, projector: FakeProjector, database: Database
) -> None:
    gateway = await start_gateway(revocation_poll_seconds=0.1)
    await projector.open("alice")
    async with httpx.AsyncClient(
        base_url=f"{gateway.http}/api/v1", headers=bearer(token(sub="me")), timeout=30
    ) as http:
        assert (await http.get("/accounts")).status_code == 200  # the gateway knows the token now
        await revoke_and_wait(gateway, database)
        answer = await http.get("/accounts")
        assert answer.status_code == 401
        assert answer.json()["code"] == "revoked"


@pytest.mark.parametrize(
    ("path", "query", "account", "refused"),
    [
        ("/accounts", "list_accounts", None, (401, "revoked")),
        ("/accounts/alice/transfers", "read_older", None, (401, "revoked")),
        ("/accounts/alice/transfers", "read_older", "alice", (403, "no_access")),
    ],
    ids=["list", "transfers", "hidden"],
)
async def test_rest_rejects_a_request_whose_rights_were_revoked_while_postgres_was_read(
    *,
    start_gateway: StartGateway,
    projector: FakeProjector,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    query: str,
    account: AccountId | None,
    refused: tuple[int, str],
) -> None:
    """The token was valid when the request was read."""
    gateway = await start_gateway(revocation_poll_seconds=0.1)
    await projector.open("alice")
    read = getattr(account_pages, query)

    async def read_and_revoke(*arguments: Any, **named: Any) -> Any:
        page = await read(*arguments, **named)
        await revoke_and_wait(gateway, database, account=account)
        return page

    monkeypatch.setattr(account_pages, query, read_and_revoke)
    mine = bearer(token(sub="me"))
    async with httpx.AsyncClient(base_url=f"{gateway.http}/api/v1", headers=mine, timeout=30) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.json().get("code")) == refused


@pytest.mark.parametrize(
    ("path", "module", "query"),
    [
        pytest.param("/accounts", account_pages, "list_accounts", id="list"),
        pytest.param("/accounts/alice/statement", account_pages, "read_newer", id="statement"),
        pytest.param("/accounts/alice/search.csv", statements, "search_transfers", id="csv"),
    ],
)
async def test_nothing_is_written_if_rights_were_revoked_while_the_client_did_not_read(
    *,
    protocols: list[HttpProtocol],
    start_gateway: StartGateway,
    projector: FakeProjector,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    module: Any,
    query: str,
) -> None:
    """What was read before the revocation waits until the client reads, and is not written then."""
    gateway = await start_gateway(revocation_poll_seconds=0.1)
    await projector.open("alice")
    await projector.transfer("alice", 1)
    read, tasks = getattr(module, query), list[asyncio.Task[None]]()

    async def revoke_and_resume(protocol: HttpProtocol) -> None:
        await revoke_and_wait(gateway, database)
        protocol.resume_writing()

    async def read_and_pause(*arguments: Any, **named: Any) -> Any:
        page = await read(*arguments, **named)
        if not tasks:
            protocols[-1].pause_writing()  # as if the client had not read an earlier response
            tasks.append(asyncio.create_task(revoke_and_resume(protocols[-1])))
        return page

    monkeypatch.setattr(module, query, read_and_pause)
    received = b""
    async with (
        httpx.AsyncClient(base_url=f"{gateway.http}/api/v1", timeout=30) as http,
        http.stream("GET", path, headers=bearer(token(sub="me"))) as response,
    ):
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for chunk in response.aiter_bytes():
                received += chunk
    assert (response.status_code, b"alice" in received, b"t-0" in received) in [
        (401, False, False),
        (200, False, False),  # the response had begun, and is aborted
    ]


async def test_gateway_admits_no_client_before_it_has_read_revocations(
    start_gateway: StartGateway, database: Database
) -> None:
    """Redis is connected and Postgres answers the audit. Only the revocations are late."""
    owner, port, operations = await asyncpg.connect(database.url("owner")), free_port(), free_port()
    try:
        async with (
            owner.transaction(),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{operations}", timeout=30) as http,
        ):
            await owner.execute("lock table revocation in access exclusive mode")
            starting = asyncio.ensure_future(start_gateway(http_port=port, operations_port=operations))
            readiness = await readiness_with(http, "revocations", "ok")
            assert "revocations" in readiness
            with pytest.raises(InvalidStatus, match="503"):
                await WebSocketClient(f"ws://127.0.0.1:{port}/ws").__aenter__()
    finally:
        await owner.close()
    gateway = await starting
    async with WebSocketClient(gateway.ws) as client:
        await client.until(lambda: client.of_type("welcome"))


# --- keys


class Issuer:
    """A server that publishes a JSON Web Key Set."""

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.reads = 0
        self.requested = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"keys": self.keys}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()
        self.reads += 1
        self.requested.set()


async def test_published_keys_are_read_and_rotated(start_gateway: StartGateway, monkeypatch: Any) -> None:
    monkeypatch.setattr("livebalance.gateway.auth.jwks.RETRY_SECONDS", 0.2)
    issuer = Issuer()
    old, new = (rsa.generate_private_key(65537, 2048) for _ in range(2))

    def public(key: rsa.RSAPrivateKey, key_id: str) -> dict[str, Any]:
        return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": key_id}

    def signed_by(key: rsa.RSAPrivateKey, key_id: str) -> str:
        return jwt.encode(claims(iss="bank", aud="balances"), key, "RS256", {"kid": key_id})

    issuer.keys = [public(old, "old")]
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    gateway = await start_gateway(
        demo_secret=None,
        jwks_url=f"http://127.0.0.1:{port}/keys",
        token_issuer="bank",
        token_audience="balances",
    )
    retired = signed_by(old, "old")
    async with WebSocketClient(gateway.ws, token=retired) as client:
        await client.until(lambda: client.of_type("welcome"))
    issuer.keys = [public(new, "new")]
    issuer.requested.clear()
    async with WebSocketClient(gateway.ws, token=signed_by(new, "new")) as client:
        code, text = await client.until_closed()
        assert (code, json.loads(text)["code"]) == (4013, "keys_missing")
        assert 1000 <= json.loads(text)["retry_after_ms"] <= 2000
    await asyncio.wait_for(issuer.requested.wait(), 30)
    async with asyncio.timeout(30):
        while True:
            async with WebSocketClient(gateway.ws, token=signed_by(new, "new")) as client:
                await client.until(lambda: client.frames or client.closed)
                if client.of_type("welcome"):
                    break
    for token_of_old_key in (retired, signed_by(old, "old")):  # verified before, and never seen
        async with WebSocketClient(gateway.ws, token=token_of_old_key) as client:
            assert (await client.until_closed())[0] in (4501, 4013)
    server.close()


async def test_stranger_with_unknown_keys_uses_up_a_budget_and_delays_no_known_key(
    start_gateway: StartGateway,
) -> None:
    """Each invented key gets 4013 until the keys were read again, then 4501. All share the reads."""
    issuer, own = Issuer(), EC_KEY
    issuer.keys = [public_jwk(own, "own")]
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0)
    with contextlib.closing(server):
        gateway = await start_gateway(
            demo_secret=None,
            jwks_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys",
            token_issuer="bank",
            token_audience="balances",
        )

        async def outcome(key_id: str) -> tuple[int, str]:
            signed = jwt.encode(claims(iss="bank", aud="balances"), own, "ES256", {"kid": key_id})
            async with WebSocketClient(gateway.ws, token=signed) as client:
                await client.until(lambda: client.of_type("welcome") or client.closed)
                return reason(client.closed) if client.closed else (0, "welcome")

        for number in range(30):
            assert await outcome(f"invented-{number}") == (4013, "keys_missing")
            assert await outcome("own") == (0, "welcome")
        assert issuer.reads <= 5
        assert await outcome("invented-0") == (4501, "unauthenticated")


async def test_ssl_cert_file_is_trusted_when_keys_are_read(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    issuer = Issuer()
    server = await asyncio.start_server(issuer.answer, "127.0.0.1", 0, ssl=context)
    address = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with contextlib.closing(server):
        await start_gateway(
            demo_secret=None, jwks_url=address, token_issuer="bank", token_audience="balances"
        )
    assert issuer.reads == 1  # a gateway is ready once it has keys


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({}, "LIVEBALANCE_JWKS"),
        ({"jwks": '{"keys":[]}'}, "LIVEBALANCE_TOKEN_ISSUER"),
        ({"jwks": "{", "token_issuer": "bank"}, "LIVEBALANCE_JWKS"),
        ({"jwks": '{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}', "token_issuer": "bank"}, "32 bytes"),
        ({"demo_secret": "short"}, "32 bytes"),
        ({"demo_secret": "x" * 40, "jwks_url": "http://127.0.0.1/"}, "LIVEBALANCE_DEMO_SECRET"),
    ],
)
async def test_gateway_without_valid_keys_does_not_start(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        await serve(Settings(**changed), asyncio.Event())
