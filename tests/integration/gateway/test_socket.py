"""WebSocket connections: messages, errors, slow readers, and how connections end."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from livebalance.gateway.server.websocket import WebSocketConnection
from tests.integration.gateway.bad_input.raw import (
    CONT,
    CRLF,
    PING,
    PONG,
    TEXT,
    TIMEOUT_SECONDS,
    RawConnection,
    frame,
)
from tests.integration.gateway.conftest import RunningGateway, StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.narrow_socket import narrow_socket
from tests.integration.gateway.websocket_client import WebSocketClient


async def test_ping_message_gets_ok(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        request = await client.request("ping")
        await client.until(lambda: {"type": "ok", "id": request} in client.frames)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "bad_message"),
        ("[1]", "bad_message"),
        ('{"type":"subscribe","id":1}', "bad_message"),
        ('{"type":"dance","id":1}', "unknown_type"),
        ('{"type":"subscribe","id":1,"channels":[{"channel":"account:a b"}]}', "bad_account"),
        ('{"type":"subscribe","id":1,"channels":[{"channel":"prices:a"}]}', "bad_account"),
        ('{"type":"unsubscribe","id":1,"channels":["account:"]}', "bad_account"),
        ("[" * 5000, "bad_message"),
    ],
)
async def test_bad_message_gets_an_error_and_connection_lives(
    gateway: RunningGateway, text: str, code: str
) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.send(text)
        await client.until(lambda: client.of_type("error"))
        assert client.of_type("error")[0]["code"] == code
        await client.request("ping")
        await client.until(lambda: client.of_type("ok"))


async def test_third_bad_message_closes_with_4500(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        for _ in range(3):
            await client.send("{")
        assert (await client.until_closed())[0] == 4500
        assert len(client.of_type("error")) == 3


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"binary", 1003), ("x" * 17_000, 1009), (["many"] * 100, 1008)],
    ids=["binary", "too big", "fragments"],
)
async def test_forbidden_message_closes_the_connection(
    gateway: RunningGateway, message: Any, code: int
) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.send(message)
        assert (await client.until_closed())[0] == code


async def test_message_in_fragments_is_accepted(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.send(['{"type":', '"ping",', '"id":7}'])  # type: ignore[arg-type] # as websockets sends them
        await client.until(lambda: {"type": "ok", "id": 7} in client.frames)


def raw_frame(opcode: int, payload: bytes) -> bytes:
    """Returns a frame of a client, masked with a key of zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def test_pong_is_sent_before_answers_to_later_frames(gateway: RunningGateway) -> None:
    """The ping is between the fragments of a message, and all of them arrive at once."""
    text = b'{"type":"ping","id":1}'
    async with await RawConnection.open(gateway.http) as connection:
        connection.send(frame(TEXT, text[:5], fin=False) + frame(PING, b"hello") + frame(CONT, text[5:]))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (received := await connection.read_frame()) != (PONG, b"hello"):
                assert b'"ok"' not in received[1]
        assert (await connection.until("ok"))["id"] == 1


async def test_invalid_utf8_closes_with_1007(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        client.transport.write(raw_frame(1, b"\xff\xfe"))
        assert (await client.until_closed())[0] == 1007


async def rejection_status(url: str, **options: Any) -> int:
    """Returns the HTTP status with which a handshake is rejected."""
    with pytest.raises(InvalidStatus) as rejected:
        async with WebSocketClient(url, **options):
            pass
    status: int = rejected.value.response.status_code
    return status


async def test_handshake_with_wrong_path_origin_or_subprotocol_is_rejected(gateway: RunningGateway) -> None:
    assert await rejection_status(gateway.http.replace("http", "ws") + "/other") == 404
    assert await rejection_status(gateway.ws, origin="http://elsewhere.example") == 403
    assert await rejection_status(gateway.ws, origin="null") == 403
    assert await rejection_status(gateway.ws, subprotocols=["another.v9"]) == 400
    async with WebSocketClient(gateway.ws, origin=gateway.http) as client:  # the gateway's own page
        await client.until(lambda: client.of_type("welcome"))


async def send_request(gateway: RunningGateway, request: bytes) -> bytes:
    """Sends `request`, and returns everything until the gateway closes the connection."""
    address = urlsplit(gateway.http)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(30):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


HANDSHAKE_HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: livebalance.v1\r\n"
)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (HANDSHAKE_HEAD.replace(b"Version: 13", b"Version: 12") + b"\r\n", 426),
        (HANDSHAKE_HEAD.replace(b"AAAAAAAA", b"A") + b"\r\n", 400),
        (HANDSHAKE_HEAD + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (HANDSHAKE_HEAD + b"X-Longer: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    ],
    ids=["version", "key", "long header", "too long a head"],
)
async def test_bad_handshake_gets_an_error_status(
    gateway: RunningGateway, request_: bytes, status: int
) -> None:
    assert (await send_request(gateway, request_)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_silent_client_is_aborted_after_the_head_timeout(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(request_head_timeout_seconds=0.2)
    assert await send_request(gateway, b"") == b""
    assert await send_request(gateway, b"GET / HTTP/1.1\r\nHost:") == b""


async def test_client_that_sends_no_pong_is_aborted(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(ping_interval_seconds=0.2, heartbeat_interval_seconds=60.0)
    address = urlsplit(gateway.http)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(HANDSHAKE_HEAD + CRLF)
    async with asyncio.timeout(30):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1_000_000)
    writer.transport.abort()


async def test_client_that_answers_pings_stays_connected(
    start_gateway: StartGateway, connections: list[WebSocketConnection]
) -> None:
    """The test ends each ping interval itself, before the gateway can have read the pong and after it."""
    gateway = await start_gateway(ping_interval_seconds=3600.0)
    async with WebSocketClient(gateway.ws) as client:
        for number in range(1, 4):
            for _ in range(2):
                connections[0].check()
                connections[0].send_ping()
            await client.request("ping")
            await client.until(lambda number=number: len(client.of_type("ok")) == number)


async def test_close_frame_of_a_client_is_answered(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        client.transport.write(raw_frame(8, (1000).to_bytes(2, "big")))
        assert (await client.until_closed())[0] == 1000


async def test_drain_closes_every_client_with_4000(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(drain_period_seconds=1.0)
    clients = [WebSocketClient(gateway.ws) for _ in range(8)]
    for client in clients:
        await client.__aenter__()
    await asyncio.wait_for(gateway.stop(), 30)
    for client in clients:
        code, reason = await client.until_closed()
        assert code == 4000
        assert json.loads(reason)["retry_after_ms"] <= 1000
        assert client.of_type("goaway")[0]["reconnect_within_ms"] == 1000
        await client.__aexit__(None, None, None)


async def test_slow_reader_gets_every_transfer_from_postgres(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(send_buffer_bytes=8192, recovery_page_rows=50)
    await projector.open("busy", "other")
    async with (
        WebSocketClient(gateway.ws, sock=narrow_socket(gateway.http)) as slow,
        WebSocketClient(gateway.ws) as quick,
    ):
        await slow.subscribe("busy", "other")
        await quick.subscribe("busy")
        await slow.until(lambda: len(slow.shown) == 2)
        slow.reading.clear()
        for number in range(60):
            await projector.transfer("busy", *([number] * 20))
        await projector.transfer("other", 5)
        await quick.until_at("busy", 2401)
        slow.reading.set()
        await slow.until_at("busy", 2401)
        await slow.until_at("other", 3)
        assert [transfer["id"] for transfer in slow.shown["busy"].transfers] == [
            transfer.id for transfer in projector.account("busy").transfers
        ]
        assert any(delta.get("more") for delta in slow.of_type("delta"))  # read from Postgres, in pages
        await projector.transfer("busy", 1)
        await slow.until_at("busy", 2403)


async def test_slightly_slow_reader_gets_conflated_deltas(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(send_buffer_bytes=8192)
    await projector.open("busy", "other")
    async with (
        WebSocketClient(gateway.ws, sock=narrow_socket(gateway.http)) as slow,
        WebSocketClient(gateway.ws) as quick,
    ):
        await slow.subscribe("busy", "other")
        await quick.subscribe("busy", "other")
        await slow.until(lambda: len(slow.shown) == 2)
        slow.reading.clear()
        for number in range(400):
            await projector.transfer("busy" if number % 4 else "other", number)
        await quick.until_at("busy", 601)
        await quick.until_at("other", 201)
        assert len(quick.of_type("delta")) == 400
        slow.reading.set()
        await slow.until_at("busy", 601)
        await slow.until_at("other", 201)
        for account in ("busy", "other"):
            assert slow.shown[account].transfers == quick.shown[account].transfers
            assert slow.shown[account].balance == quick.shown[account].balance
        assert len(slow.of_type("delta")) < 350
        assert len(slow.of_type("snapshot")) == 2
        assert not any("more" in delta for delta in slow.of_type("delta"))  # none was read from Postgres
        assert await gateway.counter("conflated_frames", reason="slow") > 50


async def test_rate_limits_the_updates_of_a_client(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(heartbeat_interval_seconds=3600.0)
    await projector.open("busy", "other")
    async with WebSocketClient(gateway.ws) as client, WebSocketClient(gateway.ws) as quick:
        for each in (client, quick):
            await each.subscribe("busy", "other")
            await each.until(lambda each=each: len(each.shown) == 2)
        await client.request("rate", max_per_second=0.001)  # one update in 1000 s, so none in this test
        await projector.transfer("busy", 1)
        await client.until_at("busy", 3)
        for number in range(10):
            await projector.transfer("busy", number)
            await projector.transfer("other", number)
        await quick.until_at("other", 21)
        await client.request("ping")
        await client.until(lambda: len(client.of_type("ok")) == 3)
        assert (client.revision("busy"), client.revision("other")) == (3, 1)
        await client.request("rate", max_per_second=None)
        await client.until_at("busy", 23)
        await client.until_at("other", 21)
        assert client.shown["busy"].transfers == quick.shown["busy"].transfers
        assert len(client.of_type("delta")) == 3  # one per account, when the limit ended
        await client.request("rate", max_per_second=5)
        for revision in (25, 27):
            await projector.transfer("busy", 1)
            await client.until_at("busy", revision)  # when it is due: no heartbeat is awaited


async def test_stalled_reader_is_aborted(start_gateway: StartGateway, projector: FakeProjector) -> None:
    gateway = await start_gateway(
        send_buffer_bytes=8192, ping_interval_seconds=1.0, write_timeout_seconds=2.0
    )
    await projector.open("busy")
    async with (
        WebSocketClient(gateway.ws, sock=narrow_socket(gateway.http)) as dead,
        WebSocketClient(gateway.ws) as quick,
    ):
        await dead.subscribe("busy")
        await quick.subscribe("busy")
        await dead.until_at("busy", 1)
        dead.reading.clear()
        for number in range(30):
            await projector.transfer("busy", *([number] * 20))
        await quick.until_at("busy", 1201)
        await gateway.until_sessions(1)
        await quick.request("ping")
        await quick.until(lambda: quick.of_type("ok"))
        dead.reading.set()


async def test_bug_met_by_one_client_does_not_affect_others(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with WebSocketClient(gateway.ws) as unlucky, WebSocketClient(gateway.ws) as other:
        await other.until(lambda: other.of_type("welcome"))
        monkeypatch.setattr("livebalance.gateway.live.session.Session.receive", lambda *_: 1 / 0)
        await unlucky.request("ping")
        code, reason = await unlucky.until_closed()
        assert (code, set(json.loads(reason))) == (1011, {"code", "message", "error_id"})
        monkeypatch.undo()
        await other.request("ping")
        await other.until(lambda: other.of_type("ok"))
