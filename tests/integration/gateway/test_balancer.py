"""What stands before the gateways guards what they cannot: TLS, slow heads and bodies, and sizes."""

import asyncio
import dataclasses
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from livebalance.stack.paths import StatePaths, free_port
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.balancer import balancer
from tests.integration.gateway.bad_input.raw import CRLF, HANDSHAKE_HEAD, RawConnection, send_request
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.websocket_client import WebSocketClient


class Door:
    """A Caddy before gateways."""

    def __init__(self, child: ChildProcess, port: int, authority: Path, secure: bool) -> None:
        self.child, self.port, self._authority, self._secure = child, port, authority, secure
        self.http = f"http://127.0.0.1:{port}"

    def trust(self) -> ssl.SSLContext:
        """Its own authority, and no other."""
        return ssl.create_default_context(cafile=str(self._authority))

    async def ready(self) -> None:
        """Until it has seen its gateways; by TLS, until it has a certificate."""
        async with asyncio.timeout(10):
            while not await self._is_ready():  # noqa: ASYNC110 - another process has no event of ours
                await asyncio.sleep(0.05)

    async def _is_ready(self) -> bool:
        try:
            if self._secure:
                _, writer = await asyncio.open_connection("localhost", self.port, ssl=self.trust())
                writer.transport.abort()
                return True
            answer = await send_request(
                self.http, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
        except OSError:  # an error of TLS is one
            return False
        return answer.status == 200


MakeDoor = Callable[..., Door]


@pytest.fixture
def make_door(place: StatePaths, tmp_path: Path) -> Iterator[MakeDoor]:
    doors: list[Door] = []

    def make(*gateways: RunningGateway, **environment: str) -> Door:
        here, port = StatePaths(place.home, tmp_path / "door"), free_port()
        child = balancer(here, port, [gateway.settings.http_port for gateway in gateways], None)
        child = dataclasses.replace(child, environment={**child.environment, **environment})
        child.start()
        authority = here.directory("caddy") / "caddy/pki/authorities/local/root.crt"
        doors.append(Door(child, port, authority, "LIVEBALANCE_PAGE_TLS" in environment))
        return doors[-1]

    yield make
    for door in doors:
        door.child.stop()


@pytest.fixture
async def plain(gateway: RunningGateway, make_door: MakeDoor) -> Door:
    door = make_door(gateway)
    await door.ready()
    return door


async def test_by_tls_alone(
    start_gateway: StartGateway, projector: FakeProjector, make_door: MakeDoor
) -> None:
    gateway = await start_gateway(require_tls=True)
    await projector.open("alice")
    door = make_door(
        gateway,
        LIVEBALANCE_PAGE_SCHEME="https",
        LIVEBALANCE_PAGE_NAME="localhost",
        LIVEBALANCE_PAGE_TLS="tls internal",
    )
    await door.ready()
    async with WebSocketClient(f"wss://localhost:{door.port}/ws", ssl=door.trust()) as client:
        await client.subscribe("alice")
        await client.until_at("alice", 1)
        tls = client.transport.get_extra_info("ssl_object")
        assert tls.version() in ("TLSv1.2", "TLSv1.3")
    answer = await send_request(door.http, HANDSHAKE_HEAD + CRLF)
    assert answer.status == 400  # nobody here speaks without
    assert (await send_request(gateway.http, HANDSHAKE_HEAD + CRLF)).status == 426  # nor here, past the door


async def test_a_slow_head_is_cut_off(plain: Door) -> None:
    began = time.monotonic()
    async with await RawConnection.connect(plain.http) as one:
        one.send(HANDSHAKE_HEAD)
        await one.read_all()
    assert 4 < time.monotonic() - began < 8


async def test_a_slow_body_is_cut_off(plain: Door) -> None:
    began = time.monotonic()
    async with await RawConnection.connect(plain.http) as one:
        one.send(b"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
        rest = asyncio.create_task(one.read_all())
        while not rest.done() and time.monotonic() - began < 20:
            one.send(b"x")
            await asyncio.wait({rest}, timeout=0.2)
        assert rest.done()
    assert time.monotonic() - began < 13


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HANDSHAKE_HEAD + b"X: " + b"a" * 9_000 + CRLF, 431),  # says the gateway
        (HANDSHAKE_HEAD + b"X: " + b"a" * 30_000 + CRLF, 431),  # says the door
        (
            b"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n" + CRLF + b"x" * 70_000,
            None,
        ),
    ],
    ids=["header", "huge header", "body"],
)
async def test_what_is_too_big_is_refused(plain: Door, request_: bytes, status: int | None) -> None:
    async with await RawConnection.connect(plain.http) as one:
        one.send(request_ + CRLF)
        head = await asyncio.wait_for(one.reader.readline(), 5)
    assert head.split(b" ")[1] in ([b"%d" % status] if status else [b"405", b"413"])


async def test_what_a_client_says_of_its_address_is_not_passed_on(
    start_gateway: StartGateway, make_door: MakeDoor
) -> None:
    gateway = await start_gateway(max_connections_per_address=1)
    door = make_door(gateway)
    await door.ready()
    url = f"ws://127.0.0.1:{door.port}/ws"

    def by(address: str) -> WebSocketClient:
        return WebSocketClient(url, additional_headers={"X-Forwarded-For": address, "X-Real-IP": address})

    async with by("192.0.2.1"):
        with pytest.raises(InvalidStatus) as refused:
            await by("192.0.2.2").__aenter__()
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["Retry-After"] == "10"


async def test_its_log_has_no_secrets(gateway: RunningGateway, make_door: MakeDoor) -> None:
    door = make_door(gateway)
    await door.ready()
    await gateway.stop()
    seeded = b"Cookie: a=s33d\r\nAuthorization: Bearer s33d\r\nX: s33d\r\nConnection: close\r\n"
    answer = await send_request(door.http, b"GET /ws?token=s33d HTTP/1.1\r\nHost: x\r\n" + seeded + CRLF)
    assert answer.status in (502, 503)
    said = door.child.log.read_text()
    assert "?redacted" in said
    assert "s33d" not in said


async def test_events_come_as_they_happen_and_go_on_at_another_gateway(
    start_gateway: StartGateway, projector: FakeProjector, make_door: MakeDoor
) -> None:
    first = await start_gateway(heartbeat_interval_seconds=60.0, name="one")
    second = await start_gateway(heartbeat_interval_seconds=60.0, name="two")
    door = make_door(first, second)
    await door.ready()
    await projector.open("alice", "bob")
    async with SseClient(door.http, "alice", "bob") as one:
        await one.until_at("alice", 1)
        await one.until_at("bob", 1)
        for number in range(1, 4):  # one event each, and nothing after it that would push it on
            await projector.transfer("alice", number)
            await one.until_at("alice", 2 * number + 1, 3)
        serves = first if one.of_type("welcome")[0]["gateway"] == "one" else second
        stopping = asyncio.create_task(serves.stop())
        end = await one.until_end()
        assert (end.code, end.reason) == (4000, "drain")
        await stopping
    await projector.transfer("bob", 5)
    async with SseClient(
        door.http, "alice", "bob", last_event_id=one.last_event_id, shown=one.shown
    ) as again:
        await again.until_at("bob", 3)
        assert not again.of_type("snapshot")
