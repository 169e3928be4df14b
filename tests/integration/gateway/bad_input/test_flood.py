"""Clients that send too much or read too slowly: they are limited, then closed, and affect nobody else."""

import asyncio
import json
from collections.abc import Callable
from itertools import pairwise

import pytest

from livebalance.gateway.server.tcp import RestartableTimer
from livebalance.gateway.server.websocket import WebSocketConnection
from tests.integration.gateway.bad_input.conftest import MakeScene, Scene
from tests.integration.gateway.bad_input.raw import (
    CONT,
    CRLF,
    HANDSHAKE_HEAD,
    PING,
    PONG,
    TEXT,
    CloseFrame,
    RawConnection,
    frame,
    message,
)
from tests.integration.gateway.stalled_reader import LONG_INTERVAL, end_ping_intervals, stalled_reader
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient


async def assert_closed(scene: Scene, reason: str, *data: bytes) -> CloseFrame:
    """Checks that a client which sends `data` is closed with 1008 and this reason."""
    async with await scene.open() as connection:
        for part in data:
            connection.send(part)
        close = await connection.until_closed()
    assert (close.code, close.reason["code"]) == (1008, reason)
    assert set(close.reason) == {"code", "message"}
    await scene.assert_logged("connection closed", "payload", code=1008, reason=reason)
    return close


async def test_row_24_too_many_messages_close_with_4013_and_the_third_time_with_4509(scene: Scene) -> None:
    """The third time from the same address is abuse."""
    codes = []
    for _ in range(3):
        async with await scene.open(HANDSHAKE_HEAD + b"X-Forwarded-For: 192.0.2.1\r\n" + CRLF) as connection:
            for _ in range(60):
                connection.send(message("ping", x="payload"))
            close = await connection.until_closed()
        errors = [frame for frame in connection.frames if frame["type"] == "error"]
        assert {error["code"] for error in errors} == {"rate_limited"}
        assert all(error["temporary"] and error["retry_after_ms"] > 0 for error in errors)
        assert len([frame for frame in connection.frames if frame["type"] == "ok"]) >= 30
        codes.append((close.code, close.reason["code"], "retry_after_ms" in close.reason))
        await scene.assert_logged("connection closed", "payload", code=close.code)
    assert codes == [(4013, "rate_limited", True), (4013, "rate_limited", True), (4509, "abuse", False)]


async def test_row_24_too_many_errors_close_with_4013(make_scene: MakeScene) -> None:
    scene = await make_scene(message_rate=1000)
    async with await scene.open() as connection:
        for _ in range(60):
            connection.send(message("payload"))
        close = await connection.until_closed()
    assert len([frame for frame in connection.frames if frame["type"] == "error"]) == 51
    assert (close.code, close.reason["code"]) == (4013, "rate_limited")
    await scene.assert_neighbour_unaffected()
    lines = len(scene.log.events())
    assert 1 <= lines <= 22  # the log is rate limited
    scene.assert_log("payload", lines=lines)


async def test_row_28_subscription_churn_closes_with_4013(make_scene: MakeScene) -> None:
    """Each subscription costs a read, even if the client has unsubscribed before."""
    scene = await make_scene(message_rate=1000)
    before = await scene.gateway.counter("account_reads")
    async with await scene.open() as connection:
        for number in range(40):
            names = [f"account:payload-{number}-{index}" for index in range(16)]
            connection.send(message("subscribe", channels=[{"channel": name} for name in names]))
            connection.send(message("unsubscribe", channels=names))
        close = await connection.until_closed()
    assert (close.code, close.reason["code"]) == (4013, "rate_limited")
    assert close.reason["retry_after_ms"] >= 10_000
    assert await scene.gateway.counter("account_reads") - before <= 300  # of 640
    await scene.assert_logged("connection closed", "payload", code=4013, reason="rate_limited")


async def test_row_29_ping_flood_closes_with_1008(scene: Scene) -> None:
    await assert_closed(scene, "controls", frame(PING, b"payload") * 200)


async def test_row_29_few_pings_are_answered(scene: Scene) -> None:
    async with await scene.open() as connection:
        connection.send(frame(PING, b"hello") * 10)
        pongs = 0
        while pongs < 10:
            opcode, payload = await connection.read_frame()
            if opcode != TEXT:
                assert (opcode, payload) == (PONG, b"hello")
                pongs += 1
    scene.assert_log()


async def test_row_29_too_many_empty_fragments_close_with_1008(scene: Scene) -> None:
    await assert_closed(scene, "fragments", frame(TEXT, fin=False), *[frame(CONT, fin=False)] * 100)


async def test_row_29_too_many_fragments_close_with_1008(scene: Scene) -> None:
    await assert_closed(
        scene, "fragments", frame(TEXT, b'"', fin=False), *[frame(CONT, b"p", fin=False)] * 100
    )


@pytest.mark.parametrize(
    "incomplete",
    [
        frame(TEXT, b"payload", fin=False),
        frame(TEXT, b"payload")[:8],
        frame(TEXT, b"payload" * 100)[:5],
        frame(TEXT, b"payload")[:1],
        message("ping") + frame(TEXT, b"payload")[:8],
    ],
    ids=["fragment", "frame", "head of a frame", "byte", "after a message"],
)
async def test_row_29_incomplete_message_closes_after_the_timeout(
    make_scene: MakeScene, incomplete: bytes
) -> None:
    scene = await make_scene(message_timeout_seconds=0.4)
    began = asyncio.get_running_loop().time()
    await assert_closed(scene, "assembly", incomplete)
    assert asyncio.get_running_loop().time() - began > 0.3


@pytest.mark.parametrize("part", ["byte", "fragment"])
async def test_row_29_slow_parts_do_not_extend_the_message_timeout(make_scene: MakeScene, part: str) -> None:
    """The timeout is for the whole message. Pings in between do not extend it either."""
    scene = await make_scene(message_timeout_seconds=0.4)
    async with await scene.open() as connection:
        closing = asyncio.create_task(connection.until_closed())
        connection.send(
            frame(TEXT, b"payload" * 100)[:9] if part == "byte" else frame(TEXT, b"payload", fin=False)
        )
        for number in range(60):
            await asyncio.wait({closing}, timeout=0.02)
            if closing.done():
                break
            connection.send(
                b"x" if part == "byte" else frame(PING) if number % 5 == 0 else frame(CONT, fin=False)
            )
        assert (await closing).reason["code"] == "assembly"
    await scene.assert_logged("connection closed", "payload", code=1008, reason="assembly")


async def test_row_29_completed_messages_restart_the_message_timeout(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []
    start = RestartableTimer.start

    def record_start(timer: RestartableTimer, seconds: float, callback: Callable[[], None]) -> None:
        starts.append(seconds)
        start(timer, seconds, callback)

    scene = await make_scene(message_timeout_seconds=77.0)
    async with await scene.open() as connection:
        monkeypatch.setattr(RestartableTimer, "start", record_start)
        text = message("ping")
        half = len(text) // 2
        connection.send(text[:half])
        async with asyncio.timeout(30):
            while not starts:  # noqa: ASYNC110 - a timer has no event
                await asyncio.sleep(0.01)
        for number in range(1, 9):
            connection.send(text[half:] + text[:half])
            await connection.until("ok")
            assert starts.count(77.0) == number + 1
    scene.assert_log()


async def test_row_30_slow_reader_gets_conflated_deltas_and_stays_connected(make_scene: MakeScene) -> None:
    """The client reads 20 kB/s of 2 MB/s. Its deltas are conflated, then read again from Postgres."""
    scene = await make_scene(send_buffer_bytes=8192, ping_interval_seconds=4.0, write_timeout_seconds=8.0)
    projector = scene.projector
    await projector.open("busy")
    async with WebSocketClient(scene.gateway.ws) as quick, await scene.open(narrow=True) as slow:
        await quick.subscribe("busy")
        await quick.until_at("busy", 1)
        slow.send(message("subscribe", channels=[{"channel": "account:busy"}]))
        await slow.until("snapshot")
        reading = asyncio.create_task(read_slowly(slow, 20_000))
        for number in range(100):
            await projector.transfer("busy", *[number] * 20)
        shown = await quick.until_at("busy", 4001)
        assert_shows(shown, projector.account("busy"))
        async with asyncio.timeout(60):
            while not any(delta.get("to") == 4001 for delta in slow.frames):
                await asyncio.wait({reading}, timeout=0.05)
                assert not reading.done()
        reading.cancel()
        deltas = [frame for frame in slow.frames if frame["type"] == "delta"]
        assert all(delta["from"] == previous["to"] for previous, delta in pairwise(deltas))
        transfers = [transfer for delta in deltas for transfer in delta["transfers"]]
        assert transfers == shown.transfers  # each once and in order
        assert len(deltas) < 100
    await scene.assert_neighbour_unaffected()
    scene.assert_log()


async def read_slowly(connection: RawConnection, per_second: int) -> None:
    """Reads `per_second` bytes a second, and answers pings."""
    buffer = bytearray()
    while True:
        chunk = await connection.reader.read(per_second // 20)
        assert chunk, "closed"
        buffer += chunk
        while next_frame := pop_frame(buffer):
            opcode, payload = next_frame
            if opcode == TEXT:
                connection.frames.append(json.loads(payload))
            elif opcode == PING:
                connection.send(frame(PONG, payload))
        await asyncio.sleep(0.05)


def pop_frame(buffer: bytearray) -> tuple[int, bytes] | None:
    """Removes the first frame, and returns its opcode and payload. None if the frame is incomplete."""
    if len(buffer) < 2:
        return None
    extra = {126: 2, 127: 8}.get(buffer[1], 0)
    if len(buffer) < 2 + extra:
        return None
    size = int.from_bytes(buffer[2 : 2 + extra], "big") if extra else buffer[1]
    if len(buffer) < 2 + extra + size:
        return None
    opcode, payload = buffer[0] & 0x0F, bytes(buffer[2 + extra : 2 + extra + size])
    del buffer[: 2 + extra + size]
    return opcode, payload


async def test_row_30_stalled_reader_is_aborted_after_the_write_timeout(
    make_scene: MakeScene, connections: list[WebSocketConnection]
) -> None:
    scene = await make_scene(
        send_buffer_bytes=8192, ping_interval_seconds=LONG_INTERVAL, write_timeout_seconds=2.0
    )
    async with await stalled_reader(scene.gateway.http, scene.projector):
        await end_ping_intervals(connections[-1])
        await scene.gateway.until_sessions(1)
    await scene.assert_logged("connection closed", code=1006, reason="no_progress")


async def test_row_30_client_that_sends_no_pong_is_aborted(make_scene: MakeScene) -> None:
    """Without data to send, only the missing pong shows that the client is gone."""
    scene = await make_scene(ping_interval_seconds=0.2, heartbeat_interval_seconds=60.0)
    async with await scene.connect() as connection:
        connection.send(HANDSHAKE_HEAD + CRLF)
        await connection.read_all()
    await scene.assert_logged("connection closed", code=1006, reason="silent")
