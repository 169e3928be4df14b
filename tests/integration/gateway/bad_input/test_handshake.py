"""Who does not come in: refused before the upgrade, with a status, a word and one line in the log."""

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
from tests.tokens import token

NEAR = [
    b"GET /%s HTTP/1.1\r\nHost: 10.0.0.7:8080\r\nConnection: close\r\n\r\n" % path
    for path in (b"livez", b"readyz", b"metrics")
]


async def test_row_02_without_tls_where_it_is_required(make_scene: MakeScene) -> None:
    scene = await make_scene({"X-Forwarded-Proto": "https"}, require_tls=True)
    for request in (HANDSHAKE_HEAD, ACCOUNTS_HEAD, HANDSHAKE_HEAD + b"X-Forwarded-Proto: https, http\r\n"):
        answer = await scene.send_request(request + CRLF)
        assert (answer.status, answer.code) == (426, "not_secure")
        assert answer.headers["upgrade"] == "TLS/1.2, HTTP/1.1"
        assert "location" not in answer.headers  # what was sent in clear text is not sent again by itself
        await scene.assert_logged("refused", reason="not_secure", status=426)
    assert (await scene.send_request(ACCOUNTS_HEAD + b"X-Forwarded-Proto: https\r\n\r\n")).status == 200
    for request in NEAR:
        assert (await scene.send_request(request)).status == 200
    scene.assert_log()


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
async def test_row_03_a_host_that_is_not_ours(make_scene: MakeScene, host: bytes) -> None:
    scene = await make_scene(allowed_hosts=("here", "127.0.0.1"))
    for request in (HANDSHAKE_HEAD, ACCOUNTS_HEAD):
        answer = await scene.send_request(request.replace(b"Host: here\r\n", host) + CRLF)
        assert (answer.status, answer.code) == (400, "host")
        await scene.assert_logged("refused", "evil", reason="host", status=400)
    for ours in (b"here", b"HERE:8000", b"127.0.0.1:1"):
        assert (await scene.send_request(ACCOUNTS_HEAD.replace(b"here", ours) + CRLF)).status == 200
        async with await scene.open(HANDSHAKE_HEAD.replace(b"here", ours) + CRLF):
            pass
    for request in NEAR:
        assert (await scene.send_request(request)).status == 200


async def test_row_03_without_a_list_a_host_still_is_one(scene: Scene) -> None:
    answer = await scene.send_request(ACCOUNTS_HEAD.replace(b"here", b"a b") + CRLF)
    assert (answer.status, answer.code) == (400, "host")
    await scene.assert_logged("refused", "a b", reason="host")


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
async def test_row_04_not_a_handshake(scene: Scene, request_: bytes, status: int, code: str) -> None:
    answer = await scene.send_request(request_ + CRLF)
    assert (answer.status, answer.code) == (status, code)
    if status == 426:
        assert answer.headers["sec-websocket-version"] == "13"
    await scene.assert_logged("refused", "elsewhere", "base64", reason=code, status=status)


@pytest.mark.parametrize(
    "offered",
    [
        "livebalance.v1, \u00fcber".encode(),
        b"\xff\xfe",
        b"livebalance.v1, a b",
        b"graphql-ws",
        b"LIVEBALANCE.V1",
        b"livebalance.v2",  # another gateway may speak it already: who comes again may find it
        b"",
    ],
)
async def test_row_05_a_subprotocol_that_is_none_of_ours(scene: Scene, offered: bytes) -> None:
    answer = await scene.send_request(HANDSHAKE_HEAD.replace(b"livebalance.v1", offered) + CRLF)
    assert (answer.status, answer.code) == (400, "subprotocol")
    assert b"Offer the subprotocol livebalance.v1" in answer.body
    await scene.assert_logged("refused", "graphql", "\u00fc", "a b", reason="subprotocol", status=400)


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [(b"livebalance.v0", b"livebalance.v0"), (b"livebalance.v0, livebalance.v1", None)],
)
async def test_a_version_that_is_served_no_more(scene: Scene, offered: bytes, spoken: bytes | None) -> None:
    """A browser tells its page a close code, and no status: it is let in, in its own version, to be told."""
    async with await scene.connect() as one:
        one.send(HANDSHAKE_HEAD.replace(b"livebalance.v1", offered) + CRLF)
        head = await asyncio.wait_for(one.reader.readuntil(b"\r\n\r\n"), TIMEOUT_SECONDS)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Protocol: " + (spoken or b"livebalance.v1") + b"\r\n" in head
        if spoken:
            closed = await one.until_closed()
            assert (closed.code, closed.reason["code"]) == (4506, "old_version")
            assert not one.frames
        else:
            one.send(message("auth", token=token()))
            await one.until("welcome")


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
async def test_row_06_too_large_a_head(scene: Scene, request_: bytes, headers: bytes) -> None:
    async with await scene.connect() as one:
        one.send(request_ + headers + CRLF * 2)
        answer = await one.answer()
    assert (answer.status, answer.code) == (431, "head_too_large")
    await scene.assert_logged("refused", "aaaa", reason="head_too_large", status=431)


async def test_row_06_too_long_a_target(scene: Scene) -> None:
    answer = await scene.send_request(
        ACCOUNTS_HEAD.replace(b"accounts", b"accounts?prefix=" + b"a" * 9000) + CRLF
    )
    assert (answer.status, answer.code) == (414, "target_too_long")
    await scene.assert_logged("refused", "aaaa", reason="target_too_long", status=414)


async def test_row_06_what_just_fits_is_served(scene: Scene) -> None:
    fits = b"".join(b"X-%d: a\r\n" % number for number in range(90)) + b"X: " + b"a" * 8000 + b"\r\n"
    assert (await scene.send_request(ACCOUNTS_HEAD + fits + CRLF)).status == 200
    async with await scene.open(HANDSHAKE_HEAD + fits + CRLF):
        pass
    scene.assert_log()


@pytest.mark.parametrize(
    ("said", "reason"), [(b"", "silent"), (HANDSHAKE_HEAD, "slow_head"), (b"GET /", "slow_head")]
)
async def test_row_07_silence(make_scene: MakeScene, said: bytes, reason: str) -> None:
    scene = await make_scene(request_head_timeout_seconds=0.4)
    began = asyncio.get_running_loop().time()
    async with await scene.connect() as one:
        one.send(said)
        assert await one.read_all() == b""
    assert 0.3 < asyncio.get_running_loop().time() - began < 2
    await scene.assert_logged("cut off", reason=reason)


async def test_row_07_a_head_that_comes_byte_by_byte(make_scene: MakeScene) -> None:
    """Every byte is progress; the whole has its time all the same."""
    scene = await make_scene(request_head_timeout_seconds=0.4)
    async with await scene.connect() as one:
        rest = asyncio.create_task(one.read_all())
        for byte in HANDSHAKE_HEAD:
            if rest.done():
                break
            one.send(bytes([byte]))
            await asyncio.wait({rest}, timeout=0.02)
        assert rest.done()
        assert await rest == b""
    await scene.assert_logged("cut off", reason="slow_head")


def by(address: str) -> bytes:
    """What our balancer says of a client."""
    return f"X-Forwarded-For: 203.0.113.99, {address}\r\n\r\n".encode()


async def turned_away(scene: Scene, address: str, reason: str, seconds: int, told: str = "") -> None:
    answer = await scene.send_request(HANDSHAKE_HEAD + by(address))
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (429, reason, str(seconds))
    await scene.assert_logged("refused", reason=reason, status=429, address=told or address)


async def test_row_26_an_address_has_its_number_and_the_others_come_in(make_scene: MakeScene) -> None:
    scene = await make_scene(max_connections_per_address=2)
    async with (
        await scene.open(HANDSHAKE_HEAD + by("10.0.0.1")),
        await scene.open(HANDSHAKE_HEAD + by("10.0.0.1")),
    ):
        await turned_away(scene, "10.0.0.1", "address_full", 10)
        async with await scene.open(HANDSHAKE_HEAD + by("10.0.0.2")):
            pass
    await scene.gateway.until_sessions(1)  # the neighbour
    async with await scene.open(HANDSHAKE_HEAD + by("10.0.0.1")):
        pass


async def test_row_26_only_a_proxy_of_ours_is_believed(make_scene: MakeScene) -> None:
    scene = await make_scene(max_connections_per_address=2, trusted_proxies=())
    async with await scene.open(HANDSHAKE_HEAD + by("10.0.0.1")):
        await turned_away(scene, "10.0.0.2", "address_full", 10, told="127.0.0.1")


async def test_row_26_an_address_that_comes_too_fast(make_scene: MakeScene) -> None:
    scene = await make_scene(connection_rate_per_address=0.5)
    async with await scene.open(HANDSHAKE_HEAD + by("10.0.0.1")):
        await turned_away(scene, "10.0.0.1", "address_too_fast", 2)
        async with await scene.open(HANDSHAKE_HEAD + by("10.0.0.2")):
            pass


async def test_row_27_a_gateway_that_is_full(make_scene: MakeScene) -> None:
    scene = await make_scene(max_connections=2)
    async with await scene.open():
        answer = await scene.send_request(HANDSHAKE_HEAD + CRLF)
        assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "full", "10")
        await scene.assert_logged("refused", reason="full", status=503)


async def test_row_27_a_gateway_that_is_not_ready(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livebalance.gateway.lifecycle.MAX_AUDIT_AGE", -1.0)  # no audit ever was of late
    answer = await scene.send_request(HANDSHAKE_HEAD + CRLF)
    assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "not_ready", "5")
    monkeypatch.undo()
    await scene.assert_logged("refused", reason="not_ready", status=503)
