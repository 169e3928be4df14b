"""The balancer compresses its answers, but no events and no WebSockets: each message is sent at once."""

import asyncio
import gzip
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import cramjam
import httpx
import pytest

from tests.integration.gateway.conftest import RunningGateway, StartBalancer
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.running_balancer import RunningBalancer
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.websocket_client import WebSocketClient
from tests.tokens import bearer

DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": lambda body: bytes(cramjam.zstd.decompress(body)),
}
BROWSER = {"accept-encoding": "gzip, deflate, br, zstd"}
SCRIPT, ACCOUNT = "/main-5QK3W7ZX.js", "/api/v1/accounts/alice"
PATHS = (
    "/",
    SCRIPT,
    "/favicon.svg",
    f"{ACCOUNT}/transfers",
    f"{ACCOUNT}/statement?format=csv",
    "/api/openapi.json",
)
FIRST, REST = b"first;page\n" * 200, b"last;page\n" * 200  # of a CSV download

each_encoding = pytest.mark.parametrize("encoding", DECODERS)


@pytest.fixture
async def caddy(
    gateway: RunningGateway, projector: FakeProjector, start_balancer: StartBalancer, tmp_path: Path
) -> RunningBalancer:
    """A balancer with a page. The account alice has 40 transfers."""
    (page := tmp_path / "browser").mkdir()
    (page / "index.html").write_text(f"<!doctype html><title>Livebalance</title>{'<p></p>' * 200}")
    (page / SCRIPT[1:]).write_text("export const balance = 1;\n" * 2000)
    (page / "favicon.svg").write_text(f"<svg>{'<g/>' * 200}</svg>")
    await projector.open("alice")
    await projector.transfer("alice", *range(1, 41))
    caddy = start_balancer(gateway, LIVEBALANCE_PAGE_ROOT=str(page))
    await caddy.ready()
    return caddy


async def fetch(
    caddy: RunningBalancer, path: str, headers: dict[str, str], method: str = "GET"
) -> tuple[httpx.Response, bytes]:
    """Returns a response and its body as it was sent, which httpx would decode.

    A gateway that got no CPU time for two seconds answers 503 until it has audited: the request is repeated.
    """
    async with httpx.AsyncClient(base_url=caddy.http, timeout=30) as client:
        while True:
            async with client.stream(method, path, headers={**bearer(), **headers}) as response:
                body = b"".join([part async for part in response.aiter_raw()])
            if response.status_code != 503:
                return response, body


@each_encoding
async def test_answers_are_compressed_to_less_than_half_and_have_the_same_content(
    caddy: RunningBalancer, encoding: str
) -> None:
    for path in PATHS:
        plain, content = await fetch(caddy, path, {"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers
        response, body = await fetch(caddy, path, {"accept-encoding": encoding})
        assert response.headers["content-encoding"] == encoding, path
        assert "accept-encoding" in response.headers["vary"].lower()
        assert response.headers.get("cache-control") == plain.headers.get("cache-control")
        assert response.headers["content-type"] == plain.headers["content-type"]
        assert DECODERS[encoding](body) == content
        assert len(body) < len(content) / 2


@each_encoding
async def test_etag_of_a_compressed_answer_is_known_again(caddy: RunningBalancer, encoding: str) -> None:
    accept = {"accept-encoding": encoding}
    for path in ("/", SCRIPT, ACCOUNT, f"{ACCOUNT}/transfers/t-0", "/api/openapi.json"):
        first, _ = await fetch(caddy, path, accept)
        again, body = await fetch(caddy, path, {**accept, "if-none-match": first.headers["etag"]})
        assert (again.status_code, body) == (304, b""), path
        later, _ = await fetch(caddy, path, {**accept, "if-none-match": again.headers["etag"]})
        assert later.status_code == 304
        if path.startswith(ACCOUNT):  # this ETag is a position, which clients may read
            assert re.fullmatch(r'(W/)?"[0-9a-f]{16}:\d+"', first.headers["etag"])


async def test_part_and_head_of_a_file_are_not_compressed(caddy: RunningBalancer) -> None:
    _, content = await fetch(caddy, SCRIPT, {"accept-encoding": "identity"})
    part, body = await fetch(caddy, SCRIPT, {**BROWSER, "range": "bytes=7-11"})
    assert (part.status_code, body) == (206, b"const")
    head, body = await fetch(caddy, SCRIPT, BROWSER, "HEAD")
    assert (head.headers["content-length"], body) == (str(len(content)), b"")
    assert not {"content-encoding"} & (part.headers.keys() | head.headers.keys())


async def test_events_and_websockets_are_not_compressed_and_arrive_one_by_one(
    caddy: RunningBalancer, projector: FakeProjector
) -> None:
    socket = WebSocketClient(f"ws://127.0.0.1:{caddy.port}/ws", additional_headers=BROWSER)
    async with SseClient(caddy.http, "alice", headers=BROWSER) as events, socket:
        assert "content-encoding" not in events.headers
        await socket.subscribe("alice")
        for client in (events, socket):
            await client.until_at("alice", 81)
        for number in range(1, 4):  # no later event pushes this one out of a buffer
            await projector.transfer("alice", number)
            for client in (events, socket):
                await client.until_at("alice", 81 + 2 * number)


async def test_compressed_download_arrives_page_by_page(
    gateway: RunningGateway, start_balancer: StartBalancer
) -> None:
    """A gateway writes the next page of a statement only after the client can read this one."""
    was_read = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(FIRST), FIRST))
        if b"/statement" in head:
            await was_read.wait()
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(REST), REST))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        address = "{}:{}".format(*server.sockets[0].getsockname())
        caddy = start_balancer(gateway, LIVEBALANCE_GATEWAYS=address, LIVEBALANCE_HEALTH_PORT="0")
        await caddy.ready()
        decoder, content = zlib.decompressobj(wbits=31), b""
        async with (
            httpx.AsyncClient(base_url=caddy.http, timeout=30) as client,
            client.stream("GET", f"{ACCOUNT}/statement", headers={"accept-encoding": "gzip"}) as response,
        ):
            assert response.headers["content-encoding"] == "gzip"
            async for part in response.aiter_raw():
                content += decoder.decompress(part)
                if content == FIRST:
                    was_read.set()
        assert content == FIRST + REST
