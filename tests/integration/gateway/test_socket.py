"""What a client may do wrong, and what it gets; how connections end."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from tests.integration.gateway.bad_input.raw import CONT, END, PING, PONG, TEXT, WITHIN, Raw, frame
from tests.integration.gateway.book import Book
from tests.integration.gateway.conftest import Running, StartGateway
from tests.integration.gateway.straw import straw
from tests.integration.gateway.viewer import Viewer


async def test_a_ping_is_answered(gateway: Running) -> None:
    async with Viewer(gateway.ws) as viewer:
        asked = await viewer.ask("ping")
        await viewer.until(lambda: {"type": "ok", "id": asked} in viewer.frames)


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
    gateway: Running, text: str, code: str
) -> None:
    async with Viewer(gateway.ws) as viewer:
        await viewer.send(text)
        await viewer.until(lambda: viewer.of_type("error"))
        assert viewer.of_type("error")[0]["code"] == code
        await viewer.ask("ping")
        await viewer.until(lambda: viewer.of_type("ok"))


async def test_the_third_bad_message_ends_it(gateway: Running) -> None:
    async with Viewer(gateway.ws) as viewer:
        for _ in range(3):
            await viewer.send("{")
        assert (await viewer.until_closed())[0] == 4500
        assert len(viewer.of_type("error")) == 3


@pytest.mark.parametrize(
    ("message", "code"),
    [(b"binary", 1003), ("x" * 17_000, 1009), (["many"] * 100, 1008)],
    ids=["binary", "too big", "fragments"],
)
async def test_what_no_client_of_ours_sends_ends_it(gateway: Running, message: Any, code: int) -> None:
    async with Viewer(gateway.ws) as viewer:
        await viewer.send(message)
        assert (await viewer.until_closed())[0] == code


async def test_a_message_may_come_in_fragments(gateway: Running) -> None:
    async with Viewer(gateway.ws) as viewer:
        await viewer.send(['{"type":', '"ping",', '"id":7}'])  # type: ignore[arg-type] # as websockets sends them
        await viewer.until(lambda: {"type": "ok", "id": 7} in viewer.frames)


def raw_frame(opcode: int, payload: bytes) -> bytes:
    """Masked with zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


async def test_a_pong_goes_before_what_answers_a_later_frame(gateway: Running) -> None:
    """The ping lies between the fragments of a message, and all of it comes at once."""
    text = b'{"type":"ping","id":1}'
    async with await Raw.open(gateway.http) as one:
        one.send(frame(TEXT, text[:5], fin=False) + frame(PING, b"hello") + frame(CONT, text[5:]))
        async with asyncio.timeout(WITHIN):
            while (heard := await one.frame()) != (PONG, b"hello"):
                assert b'"ok"' not in heard[1]
        assert (await one.until("ok"))["id"] == 1


async def test_text_that_is_no_utf8_ends_it(gateway: Running) -> None:
    async with Viewer(gateway.ws) as viewer:
        viewer.transport.write(raw_frame(1, b"\xff\xfe"))
        assert (await viewer.until_closed())[0] == 1007


async def refused(url: str, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as refusal:
        async with Viewer(url, **options):
            pass
    status: int = refusal.value.response.status_code
    return status


async def test_who_may_not_come_in(gateway: Running) -> None:
    assert await refused(gateway.http.replace("http", "ws") + "/other") == 404
    assert await refused(gateway.ws, origin="http://elsewhere.example") == 403
    assert await refused(gateway.ws, origin="null") == 403
    assert await refused(gateway.ws, subprotocols=["another.v9"]) == 400
    async with Viewer(gateway.ws, origin=gateway.http) as viewer:  # our own page
        await viewer.until(lambda: viewer.of_type("welcome"))


async def talk(gateway: Running, request: bytes) -> bytes:
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
async def test_a_bad_handshake_is_answered(gateway: Running, request_: bytes, status: int) -> None:
    assert (await talk(gateway, request_)).startswith(f"HTTP/1.1 {status} ".encode())


async def test_who_says_nothing_is_cut_off(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(request_head_timeout_seconds=0.2)
    assert await talk(gateway, b"") == b""
    assert await talk(gateway, b"GET / HTTP/1.1\r\nHost:") == b""


async def test_who_does_not_pong_is_cut_off(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(ping_interval_seconds=0.2, heartbeat_interval_seconds=60.0)
    at = urlsplit(gateway.http)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(UPGRADE + END)
    async with asyncio.timeout(5):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1_000_000)
    writer.transport.abort()
    async with Viewer(gateway.ws) as viewer:  # which does
        await asyncio.sleep(0.7)
        await viewer.ask("ping")
        await viewer.until(lambda: viewer.of_type("ok"))


async def test_a_client_that_says_goodbye_is_answered(gateway: Running) -> None:
    async with Viewer(gateway.ws) as viewer:
        viewer.transport.write(raw_frame(8, (1000).to_bytes(2, "big")))
        assert (await viewer.until_closed())[0] == 1000


async def test_a_drain_sends_everyone_elsewhere(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(drain_period_seconds=1.0)
    viewers = [Viewer(gateway.ws) for _ in range(8)]
    for viewer in viewers:
        await viewer.__aenter__()
    await asyncio.wait_for(gateway.stop(), 6)
    for viewer in viewers:
        code, reason = await viewer.until_closed()
        assert code == 4000
        assert json.loads(reason)["retry_after_ms"] <= 1000
        assert viewer.of_type("goaway")[0]["reconnect_within_ms"] == 1000
        await viewer.__aexit__(None, None, None)


async def test_a_slow_reader_loses_nothing_and_costs_no_memory(
    start_gateway: StartGateway, book: Book
) -> None:
    gateway = await start_gateway(send_buffer_bytes=8192, recovery_page_rows=50)
    await book.open("busy", "other")
    async with Viewer(gateway.ws, sock=straw(gateway.http)) as slow, Viewer(gateway.ws) as quick:
        await slow.follow("busy", "other")
        await quick.follow("busy")
        await slow.until(lambda: len(slow.shown) == 2)
        slow.reads.clear()
        for number in range(60):
            await book.move("busy", *([number] * 20))
        await book.move("other", 5)
        await quick.until_at("busy", 2401)
        slow.reads.set()
        await slow.until_at("busy", 2401, within=20)
        await slow.until_at("other", 3)
        assert [one["id"] for one in slow.shown["busy"].transfers] == [
            one.id for one in book.page("busy").transfers
        ]
        assert any(one.get("more") for one in slow.of_type("delta"))  # the rest came from Postgres
        await book.move("busy", 1)
        await slow.until_at("busy", 2403)


async def test_a_reader_a_little_too_slow_gets_many_deltas_as_one(
    start_gateway: StartGateway, book: Book
) -> None:
    gateway = await start_gateway(send_buffer_bytes=8192)
    await book.open("busy", "other")
    async with Viewer(gateway.ws, sock=straw(gateway.http)) as slow, Viewer(gateway.ws) as quick:
        await slow.follow("busy", "other")
        await quick.follow("busy", "other")
        await slow.until(lambda: len(slow.shown) == 2)
        slow.reads.clear()
        for number in range(400):
            await book.move("busy" if number % 4 else "other", number)
        await quick.until_at("busy", 601)
        await quick.until_at("other", 201)
        assert len(quick.of_type("delta")) == 400
        slow.reads.set()
        await slow.until_at("busy", 601)
        await slow.until_at("other", 201)
        for account in ("busy", "other"):
            assert slow.shown[account].transfers == quick.shown[account].transfers
            assert slow.shown[account].balance == quick.shown[account].balance
        assert len(slow.of_type("delta")) < 350
        assert len(slow.of_type("snapshot")) == 2
        assert not any("more" in one for one in slow.of_type("delta"))  # nothing had to be read again
        assert await gateway.counted("conflated_frames", reason="slow") > 50


async def test_a_client_may_want_data_less_often(gateway: Running, book: Book) -> None:
    await book.open("busy", "other")
    async with Viewer(gateway.ws) as viewer, Viewer(gateway.ws) as quick:
        for one in (viewer, quick):
            await one.follow("busy", "other")
            await one.until(lambda one=one: len(one.shown) == 2)
        await viewer.ask("rate", max_per_second=0.02)  # every 50 s: never again in this test
        await book.move("busy", 1)
        await viewer.until_at("busy", 3)
        for number in range(10):
            await book.move("busy", number)
            await book.move("other", number)
        await quick.until_at("other", 21)
        await viewer.ask("ping")
        await viewer.until(lambda: len(viewer.of_type("ok")) == 3)
        assert (viewer.revision("busy"), viewer.revision("other")) == (3, 1)
        await viewer.ask("rate", max_per_second=None)
        await viewer.until_at("busy", 23)
        await viewer.until_at("other", 21)
        assert viewer.shown["busy"].transfers == quick.shown["busy"].transfers
        assert len(viewer.of_type("delta")) == 3  # one of each account, when it was lifted
        await viewer.ask("rate", max_per_second=5)
        for number in (1, 2):
            await book.move("busy", number)
        await viewer.until_at("busy", 27)  # the second by itself, when it is due


async def test_a_reader_that_never_reads_is_aborted(start_gateway: StartGateway, book: Book) -> None:
    gateway = await start_gateway(
        send_buffer_bytes=8192, ping_interval_seconds=1.0, write_timeout_seconds=2.0
    )
    await book.open("busy")
    async with Viewer(gateway.ws, sock=straw(gateway.http)) as dead, Viewer(gateway.ws) as quick:
        await dead.follow("busy")
        await quick.follow("busy")
        await dead.until_at("busy", 1)
        dead.reads.clear()
        for number in range(30):
            await book.move("busy", *([number] * 20))
        await quick.until_at("busy", 1201)
        await gateway.until_sessions(1)
        await quick.ask("ping")
        await quick.until(lambda: quick.of_type("ok"))
        dead.reads.set()


async def test_a_bug_met_by_one_client_does_not_reach_the_others(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Viewer(gateway.ws) as unlucky, Viewer(gateway.ws) as other:
        await other.until(lambda: other.of_type("welcome"))
        monkeypatch.setattr("livebalance.gateway.live.session.Session.receive", lambda *_: 1 / 0)
        await unlucky.ask("ping")
        code, reason = await unlucky.until_closed()
        assert (code, set(json.loads(reason))) == (1011, {"code", "message", "error_id"})
        monkeypatch.undo()
        await other.ask("ping")
        await other.until(lambda: other.of_type("ok"))
