"""What a client may do wrong, and what it gets; how connections end."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

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


async def test_a_ping_is_answered(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        asked = await client.request("ping")
        await client.until(lambda: {"type": "ok", "id": asked} in client.frames)


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
async def test_a_bad_message_has_its_error_and_the_connection_lives(
    gateway: RunningGateway, text: str, code: str
) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.send(text)
        await client.until(lambda: client.of_type("error"))
        assert client.of_type("error")[0]["code"] == code
        await client.request("ping")
        await client.until(lambda: client.of_type("ok"))


async def test_the_third_bad_message_ends_it(gateway: RunningGateway) -> None:
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
async def test_what_no_client_of_ours_sends_ends_it(gateway: RunningGateway, message: Any, code: int) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.send(message)
        assert (await client.until_closed())[0] == code


async def test_a_message_may_come_in_fragments(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        await client.send(['{"type":', '"ping",', '"id":7}'])  # type: ignore[arg-type] # as websockets sends them
        await client.until(lambda: {"type": "ok", "id": 7} in client.frames)


def raw_frame(opcode: int, payload: bytes) -> bytes:
    """Masked with zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def test_a_pong_goes_before_what_answers_a_later_frame(gateway: RunningGateway) -> None:
    """The ping lies between the fragments of a message, and all of it comes at once."""
    text = b'{"type":"ping","id":1}'
    async with await RawConnection.open(gateway.http) as one:
        one.send(frame(TEXT, text[:5], fin=False) + frame(PING, b"hello") + frame(CONT, text[5:]))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (heard := await one.read_frame()) != (PONG, b"hello"):
                assert b'"ok"' not in heard[1]
        assert (await one.until("ok"))["id"] == 1


async def test_text_that_is_no_utf8_ends_it(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        client.transport.write(raw_frame(1, b"\xff\xfe"))
        assert (await client.until_closed())[0] == 1007


async def refused(url: str, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        async with WebSocketClient(url, **options):
            pass
    status: int = refusal.value.response.status_code
    return status


async def test_who_may_not_come_in(gateway: RunningGateway) -> None:
    assert await refused(gateway.http.replace("http", "ws") + "/other") == 404
    assert await refused(gateway.ws, origin="http://elsewhere.example") == 403
    assert await refused(gateway.ws, origin="null") == 403
    assert await refused(gateway.ws, subprotocols=["another.v9"]) == 400
    async with WebSocketClient(gateway.ws, origin=gateway.http) as client:  # our own page
        await client.until(lambda: client.of_type("welcome"))


async def talk(gateway: RunningGateway, request: bytes) -> bytes:
    """Everything the gateway says until it closes."""
    at = urlsplit(gateway.http)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.transport.abort()


UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: livebalance.v1\r\n"
)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (UPGRADE.replace(b"Version: 13", b"Version: 12") + b"\r\n", 426),
        (UPGRADE.replace(b"AAAAAAAA", b"A") + b"\r\n", 400),
        (UPGRADE + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (UPGRADE + b"X-Longer: " + b"a" * 40_000 + b"\r\n\r\n", 431),
    ],
    ids=["version", "key", "long header", "too long a head"],
)
async def test_a_bad_handshake_is_answered(gateway: RunningGateway, request_: bytes, status: int) -> None:
    assert (await talk(gateway, request_)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_who_says_nothing_is_cut_off(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(request_head_timeout_seconds=0.2)
    assert await talk(gateway, b"") == b""
    assert await talk(gateway, b"GET / HTTP/1.1\r\nHost:") == b""


async def test_who_does_not_pong_is_cut_off(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(ping_interval_seconds=0.2, heartbeat_interval_seconds=60.0)
    at = urlsplit(gateway.http)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(UPGRADE + CRLF)
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1_000_000)
    writer.transport.abort()
    async with WebSocketClient(gateway.ws) as client:  # which does
        await asyncio.sleep(0.7)
        await client.request("ping")
        await client.until(lambda: client.of_type("ok"))


async def test_a_client_that_says_goodbye_is_answered(gateway: RunningGateway) -> None:
    async with WebSocketClient(gateway.ws) as client:
        client.transport.write(raw_frame(8, (1000).to_bytes(2, "big")))
        assert (await client.until_closed())[0] == 1000


async def test_a_drain_sends_everyone_elsewhere(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(drain_period_seconds=1.0)
    clients = [WebSocketClient(gateway.ws) for _ in range(8)]
    for client in clients:
        await client.__aenter__()
    await asyncio.wait_for(gateway.stop(), 6)
    for client in clients:
        code, reason = await client.until_closed()
        assert code == 4000
        assert json.loads(reason)["retry_after_ms"] <= 1000
        assert client.of_type("goaway")[0]["reconnect_within_ms"] == 1000
        await client.__aexit__(None, None, None)


async def test_a_slow_reader_loses_nothing_and_costs_no_memory(
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
        await slow.until_at("busy", 2401, within=20)
        await slow.until_at("other", 3)
        assert [one["id"] for one in slow.shown["busy"].transfers] == [
            one.id for one in projector.account("busy").transfers
        ]
        assert any(one.get("more") for one in slow.of_type("delta"))  # the rest came from Postgres
        await projector.transfer("busy", 1)
        await slow.until_at("busy", 2403)


async def test_a_reader_a_little_too_slow_gets_many_deltas_as_one(
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
        assert not any("more" in one for one in slow.of_type("delta"))  # nothing had to be read again
        assert await gateway.counter("conflated_frames", reason="slow") > 50


async def test_a_client_may_want_data_less_often(gateway: RunningGateway, projector: FakeProjector) -> None:
    await projector.open("busy", "other")
    async with WebSocketClient(gateway.ws) as client, WebSocketClient(gateway.ws) as quick:
        for one in (client, quick):
            await one.subscribe("busy", "other")
            await one.until(lambda one=one: len(one.shown) == 2)
        await client.request("rate", max_per_second=0.02)  # every 50 s: never again in this test
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
        assert len(client.of_type("delta")) == 3  # one of each account, when it was lifted
        await client.request("rate", max_per_second=5)
        for number in (1, 2):
            await projector.transfer("busy", number)
        await client.until_at("busy", 27)  # the second by itself, when it is due


async def test_a_reader_that_never_reads_is_aborted(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
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


async def test_a_bug_met_by_one_client_does_not_reach_the_others(
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
