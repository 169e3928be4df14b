"""The balancer in front of gateways: TLS, slow heads and bodies, size limits, client addresses, its log."""

import asyncio
import time

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, RawConnection, send_request
from tests.integration.gateway.conftest import RunningGateway, StartBalancer, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.running_balancer import RunningBalancer
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.websocket_client import WebSocketClient


@pytest.fixture
async def plain(gateway: RunningGateway, start_balancer: StartBalancer) -> RunningBalancer:
    caddy = start_balancer(gateway)
    await caddy.ready()
    return caddy


async def test_balancer_serves_websockets_only_over_tls(
    start_gateway: StartGateway, projector: FakeProjector, start_balancer: StartBalancer
) -> None:
    gateway = await start_gateway(require_tls=True)
    await projector.open("alice")
    caddy = start_balancer(
        gateway,
        LIVEBALANCE_PAGE_SCHEME="https",
        LIVEBALANCE_PAGE_NAME="localhost",
        LIVEBALANCE_PAGE_TLS="tls internal",
    )
    await caddy.ready()
    async with WebSocketClient(f"wss://localhost:{caddy.port}/ws", ssl=caddy.ssl_context()) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        tls = client.transport.get_extra_info("ssl_object")
        assert tls.version() in ("TLSv1.2", "TLSv1.3")
    response = await send_request(caddy.http, HANDSHAKE_HEAD + CRLF)
    assert response.status == 400  # the balancer's port is for TLS only
    without_balancer = await send_request(gateway.http, HANDSHAKE_HEAD + CRLF)
    assert without_balancer.status == 426


async def test_balancer_closes_a_slow_head(plain: RunningBalancer) -> None:
    began = time.monotonic()
    async with await RawConnection.connect(plain.http) as connection:
        connection.send(HANDSHAKE_HEAD)
        await connection.read_all()
    assert time.monotonic() - began > 4


async def test_balancer_closes_a_slow_body(plain: RunningBalancer) -> None:
    async with await RawConnection.connect(plain.http) as connection:
        connection.send(b"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
        reading = asyncio.create_task(connection.read_all())
        while not reading.done():  # at most for the 30 s that it may take
            connection.send(b"x")
            await asyncio.wait({reading}, timeout=0.2)
        await reading


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HANDSHAKE_HEAD + b"X: " + b"a" * 9_000 + CRLF, 431),  # rejected by the gateway
        (HANDSHAKE_HEAD + b"X: " + b"a" * 30_000 + CRLF, 431),  # rejected by the balancer
        (
            b"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n" + CRLF + b"x" * 70_000,
            None,
        ),
    ],
    ids=["header", "huge header", "body"],
)
async def test_too_large_request_is_rejected(
    plain: RunningBalancer, request_: bytes, status: int | None
) -> None:
    async with await RawConnection.connect(plain.http) as connection:
        connection.send(request_ + CRLF)
        head = await asyncio.wait_for(connection.reader.readline(), 30)
    assert head.split(b" ")[1] in ([b"%d" % status] if status else [b"405", b"413"])


async def test_control_of_the_demo_does_not_exist_without_a_demo(plain: RunningBalancer) -> None:
    head = b"POST /api/demo/control/kill-gateway HTTP/1.1\r\nHost: x\r\nOrigin: %b\r\n" % plain.http.encode()
    response = await send_request(plain.http, head + b"Content-Length: 0\r\n\r\n")
    assert response.status in (404, 405)  # of a gateway, which has no such path


async def test_address_headers_of_a_client_are_not_forwarded(
    start_gateway: StartGateway, start_balancer: StartBalancer
) -> None:
    gateway = await start_gateway(max_connections_per_address=1)
    caddy = start_balancer(gateway)
    await caddy.ready()
    url = f"ws://127.0.0.1:{caddy.port}/ws"

    def client_at(address: str) -> WebSocketClient:
        return WebSocketClient(url, additional_headers={"X-Forwarded-For": address, "X-Real-IP": address})

    async with client_at("192.0.2.1"):
        with pytest.raises(InvalidStatus) as rejected:
            await client_at("192.0.2.2").__aenter__()
        assert rejected.value.response.status_code == 429
        assert rejected.value.response.headers["Retry-After"] == "10"


async def test_balancer_log_has_no_secrets(gateway: RunningGateway, start_balancer: StartBalancer) -> None:
    caddy = start_balancer(gateway)
    await caddy.ready()
    await gateway.stop()
    headers = b"Cookie: a=s33d\r\nAuthorization: Bearer s33d\r\nX: s33d\r\nConnection: close\r\n"
    response = await send_request(caddy.http, b"GET /ws?token=s33d HTTP/1.1\r\nHost: x\r\n" + headers + CRLF)
    assert response.status in (502, 503)
    log = caddy.child.log.read_text()
    assert "?redacted" in log
    assert "s33d" not in log


async def test_events_pass_without_buffering_and_resume_at_another_gateway(
    start_gateway: StartGateway, projector: FakeProjector, start_balancer: StartBalancer
) -> None:
    first = await start_gateway(heartbeat_interval_seconds=3600.0, name="one")
    second = await start_gateway(
        heartbeat_interval_seconds=3600.0,
        name="two",
        http_host="127.0.0.2",
        operations_port=first.settings.operations_port,
    )
    caddy = start_balancer(first, second)
    await caddy.ready()
    await projector.open("alice", "bob")
    async with SseClient(caddy.http, "alice", "bob") as before:
        await before.until_at("alice", 1)
        await before.until_at("bob", 1)
        for number in range(1, 4):  # no later event pushes this one out of a buffer
            await projector.transfer("alice", number)
            await before.until_at("alice", 2 * number + 1)
        serving = first if before.of_type("welcome")[0]["gateway"] == "one" else second
        stopping = asyncio.create_task(serving.stop())
        end = await before.until_end()
        assert (end.code, end.reason) == (4000, "drain")
        await stopping
    await projector.transfer("bob", 5)
    async with SseClient(
        caddy.http, "alice", "bob", last_event_id=before.last_event_id, shown=before.shown
    ) as after:
        await after.until_at("bob", 3)
        assert not after.of_type("snapshot")
