"""Handshakes and request heads that are rejected with a status, a code and one line in the log."""

import asyncio

import pytest

from tests.integration.gateway.bad_input.conftest import MakeScene, Scene
from tests.integration.gateway.bad_input.raw import (
    ACCOUNTS_HEAD,
    CRLF,
    HANDSHAKE_HEAD,
    KEY,
    TIMEOUT_SECONDS,
    message,
)
from tests.integration.gateway.conftest import LimiterClock
from tests.tokens import token

# No exceptions: probes have a port of their own.
PROBES = [
    b"GET /%s HTTP/1.1\r\nHost: 10.0.0.7:8080\r\nConnection: close\r\n\r\n" % path
    for path in (b"livez", b"readyz", b"metrics")
]


async def test_row_02_plain_http_gets_426_where_tls_is_required(make_scene: MakeScene) -> None:
    scene = await make_scene({"X-Forwarded-Proto": "https"}, require_tls=True)
    for request in (HANDSHAKE_HEAD, ACCOUNTS_HEAD, HANDSHAKE_HEAD + b"X-Forwarded-Proto: https, http\r\n"):
        response = await scene.send_request(request + CRLF)
        assert (response.status, response.code) == (426, "not_secure")
        assert response.headers["upgrade"] == "TLS/1.2, HTTP/1.1"
        assert (
            "location" not in response.headers
        )  # a redirect would make the client repeat what it sent in clear text
        await scene.assert_logged("request rejected", reason="not_secure", status=426)
    assert (await scene.send_request(ACCOUNTS_HEAD + b"X-Forwarded-Proto: https\r\n\r\n")).status == 200
    for request in PROBES:
        assert (await scene.send_request(request)).status == 426


@pytest.mark.parametrize(
    "host",
    [
        b"Host: evil.example\r\n",
        b"Host: here.evil.example\r\n",
        b"Host: here@evil.example\r\n",
        b"Host: here/../x\r\n",
        b"Host: here\r\nHost: here\r\n",
        b"Host: here:8000, evil.example\r\n",
        b"",
    ],
)
async def test_row_03_host_not_allowed_gets_400(make_scene: MakeScene, host: bytes) -> None:
    scene = await make_scene(allowed_hosts=("here", "127.0.0.1"))
    for request in (HANDSHAKE_HEAD, ACCOUNTS_HEAD):
        response = await scene.send_request(request.replace(b"Host: here\r\n", host) + CRLF)
        assert (response.status, response.code) == (400, "host")
        await scene.assert_logged("request rejected", "evil", reason="host", status=400)
    for host_ in (b"here", b"HERE:8000", b"127.0.0.1:1"):
        assert (await scene.send_request(ACCOUNTS_HEAD.replace(b"here", host_) + CRLF)).status == 200
        async with await scene.open(HANDSHAKE_HEAD.replace(b"here", host_) + CRLF):
            pass
    for request in PROBES:
        assert (await scene.send_request(request)).status == 400


async def test_row_03_malformed_host_gets_400_without_a_list_of_hosts(scene: Scene) -> None:
    response = await scene.send_request(ACCOUNTS_HEAD.replace(b"here", b"a b") + CRLF)
    assert (response.status, response.code) == (400, "host")
    await scene.assert_logged("request rejected", "a b", reason="host")


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (HANDSHAKE_HEAD.replace(b"Version: 13", b"Version: 12"), 426, "websocket_version"),
        (HANDSHAKE_HEAD.replace(b"Version: 13", b"Version: 13, 8"), 426, "websocket_version"),
        (HANDSHAKE_HEAD.replace(b"Sec-WebSocket-Version: 13\r\n", b""), 400, "handshake"),
        (HANDSHAKE_HEAD.replace(KEY, b"AAAA"), 400, "handshake"),
        (HANDSHAKE_HEAD.replace(KEY, b"not in base64 at all"), 400, "handshake"),
        (HANDSHAKE_HEAD.replace(b"Sec-WebSocket-Key: " + KEY + b"\r\n", b""), 400, "handshake"),
        (HANDSHAKE_HEAD + b"Sec-WebSocket-Key: " + KEY + b"\r\n", 400, "handshake"),
        (HANDSHAKE_HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "http_version"),
        (HANDSHAKE_HEAD.replace(b"HTTP/1.1", b"HTTP/3.7"), 400, "bad_request"),
        (HANDSHAKE_HEAD.replace(b"GET /ws", b"POST /ws"), 405, "method"),
        (HANDSHAKE_HEAD.replace(b"/ws", b"/elsewhere"), 404, "not_found"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),  # TLS
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
    ],
)
async def test_row_04_invalid_handshake_is_rejected(
    scene: Scene, request_: bytes, status: int, code: str
) -> None:
    response = await scene.send_request(request_ + CRLF)
    assert (response.status, response.code) == (status, code)
    if status == 426:
        assert response.headers["sec-websocket-version"] == "13"
    await scene.assert_logged("request rejected", "elsewhere", "base64", reason=code, status=status)


@pytest.mark.parametrize(
    "offered",
    [
        "livebalance.v1, \u00fcber".encode(),
        b"\xff\xfe",
        b"livebalance.v1, a b",
        b"graphql-ws",
        b"LIVEBALANCE.V1",
        b"livebalance.v2",  # a newer gateway may accept it
        b"",
    ],
)
async def test_row_05_unknown_subprotocol_gets_400(scene: Scene, offered: bytes) -> None:
    response = await scene.send_request(HANDSHAKE_HEAD.replace(b"livebalance.v1", offered) + CRLF)
    assert (response.status, response.code) == (400, "subprotocol")
    assert b"Offer the subprotocol livebalance.v1" in response.body
    await scene.assert_logged(
        "request rejected", "graphql", "\u00fc", "a b", reason="subprotocol", status=400
    )


@pytest.mark.parametrize(
    ("offered", "selected"),
    [(b"livebalance.v0", b"livebalance.v0"), (b"livebalance.v0, livebalance.v1", None)],
)
async def test_retired_subprotocol_is_accepted_and_closed_with_4506(
    scene: Scene, offered: bytes, selected: bytes | None
) -> None:
    """A browser shows its page a close code but no HTTP status, so the handshake succeeds first."""
    async with await scene.connect() as connection:
        connection.send(HANDSHAKE_HEAD.replace(b"livebalance.v1", offered) + CRLF)
        head = await asyncio.wait_for(connection.reader.readuntil(b"\r\n\r\n"), TIMEOUT_SECONDS)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Protocol: " + (selected or b"livebalance.v1") + b"\r\n" in head
        if selected:
            close = await connection.until_closed()
            assert (close.code, close.reason["code"]) == (4506, "old_version")
            assert not connection.frames
        else:
            connection.send(message("auth", token=token()))
            await connection.until("welcome")


@pytest.mark.parametrize("request_", [HANDSHAKE_HEAD, ACCOUNTS_HEAD], ids=["upgrade", "request"])
@pytest.mark.parametrize(
    "headers",
    [
        b"X-Long: " + b"a" * 8300 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(101)),
        b"".join(b"X-%d: " % number + b"a" * 4000 + b"\r\n" for number in range(9)),
        b"X-Endless: " + b"a" * 200_000,
    ],
    ids=["long", "many", "much", "endless"],
)
async def test_row_06_too_large_head_gets_431(scene: Scene, request_: bytes, headers: bytes) -> None:
    async with await scene.connect() as connection:
        connection.send(request_ + headers + CRLF * 2)
        response = await connection.response()
    assert (response.status, response.code) == (431, "head_too_large")
    await scene.assert_logged("request rejected", "aaaa", reason="head_too_large", status=431)


async def test_row_06_too_long_target_gets_414(scene: Scene) -> None:
    response = await scene.send_request(
        ACCOUNTS_HEAD.replace(b"accounts", b"accounts?prefix=" + b"a" * 9000) + CRLF
    )
    assert (response.status, response.code) == (414, "target_too_long")
    await scene.assert_logged("request rejected", "aaaa", reason="target_too_long", status=414)


async def test_row_06_head_within_the_limits_is_served(scene: Scene) -> None:
    headers = b"".join(b"X-%d: a\r\n" % number for number in range(90)) + b"X: " + b"a" * 8000 + b"\r\n"
    assert (await scene.send_request(ACCOUNTS_HEAD + headers + CRLF)).status == 200
    async with await scene.open(HANDSHAKE_HEAD + headers + CRLF):
        pass
    scene.assert_log()


@pytest.mark.parametrize(
    ("sent", "reason"), [(b"", "silent"), (HANDSHAKE_HEAD, "slow_head"), (b"GET /", "slow_head")]
)
async def test_row_07_incomplete_head_is_aborted_after_the_timeout(
    make_scene: MakeScene, sent: bytes, reason: str
) -> None:
    scene = await make_scene(request_head_timeout_seconds=0.4)
    began = asyncio.get_running_loop().time()
    async with await scene.connect() as connection:
        connection.send(sent)
        assert await connection.read_all() == b""
    assert asyncio.get_running_loop().time() - began > 0.3
    await scene.assert_logged("connection aborted", reason=reason)


async def test_row_07_slow_headers_are_closed_after_the_timeout(make_scene: MakeScene) -> None:
    """Single bytes do not extend the timeout."""
    scene = await make_scene(request_head_timeout_seconds=0.4)
    async with await scene.connect() as connection:
        reading = asyncio.create_task(connection.read_all())
        for byte in HANDSHAKE_HEAD:
            if reading.done():
                break
            connection.send(bytes([byte]))
            await asyncio.wait({reading}, timeout=0.02)
        assert reading.done()
        assert await reading == b""
    await scene.assert_logged("connection aborted", reason="slow_head")


def forwarded(address: str) -> bytes:
    """Returns the last header, as the balancer sends it for a client at `address`."""
    return f"X-Forwarded-For: 203.0.113.99, {address}\r\n\r\n".encode()


async def assert_rejected(scene: Scene, address: str, reason: str, seconds: int, logged: str = "") -> None:
    response = await scene.send_request(HANDSHAKE_HEAD + forwarded(address))
    assert (response.status, response.code, response.headers["retry-after"]) == (429, reason, str(seconds))
    await scene.assert_logged("request rejected", reason=reason, status=429, address=logged or address)


async def test_row_26_address_at_its_limit_gets_429_and_others_connect(make_scene: MakeScene) -> None:
    scene = await make_scene(max_connections_per_address=2)
    async with (
        await scene.open(HANDSHAKE_HEAD + forwarded("10.0.0.1")),
        await scene.open(HANDSHAKE_HEAD + forwarded("10.0.0.1")),
    ):
        await assert_rejected(scene, "10.0.0.1", "address_full", 10)
        async with await scene.open(HANDSHAKE_HEAD + forwarded("10.0.0.2")):
            pass
    await scene.gateway.until_sessions(1)  # the neighbour
    async with await scene.open(HANDSHAKE_HEAD + forwarded("10.0.0.1")):
        pass


async def test_row_26_forwarded_address_of_an_untrusted_peer_is_ignored(make_scene: MakeScene) -> None:
    scene = await make_scene(max_connections_per_address=2, trusted_proxies=())
    async with await scene.open(HANDSHAKE_HEAD + forwarded("10.0.0.1")):
        await assert_rejected(scene, "10.0.0.2", "address_full", 10, logged="127.0.0.1")


async def test_row_26_address_over_its_rate_gets_429_and_others_connect(
    make_scene: MakeScene, limiter_clock: LimiterClock
) -> None:
    scene = await make_scene(connection_rate_per_address=0.5)
    async with await scene.open(HANDSHAKE_HEAD + forwarded("10.0.0.1")):
        await assert_rejected(scene, "10.0.0.1", "address_too_fast", 2)
        async with await scene.open(HANDSHAKE_HEAD + forwarded("10.0.0.2")):
            pass


async def test_row_27_full_gateway_responds_503(make_scene: MakeScene) -> None:
    scene = await make_scene(max_connections=2)
    async with await scene.open():
        response = await scene.send_request(HANDSHAKE_HEAD + CRLF)
        assert (response.status, response.code, response.headers["retry-after"]) == (503, "full", "10")
        await scene.assert_logged("request rejected", reason="full", status=503)


async def test_row_27_gateway_that_is_not_ready_responds_503(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("livebalance.gateway.lifecycle.MAX_AUDIT_AGE", -1.0)  # any audit is too old
    response = await scene.send_request(HANDSHAKE_HEAD + CRLF)
    assert (response.status, response.code, response.headers["retry-after"]) == (503, "not_ready", "5")
    monkeypatch.undo()
    await scene.assert_logged("request rejected", reason="not_ready", status=503)
