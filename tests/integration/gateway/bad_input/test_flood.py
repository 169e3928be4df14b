"""Too much, too often, too slowly: the stranger is slowed down, then closed; the neighbour is neither."""

import asyncio
import json
from itertools import pairwise

import pytest

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
from tests.integration.gateway.stalled_reader import stalled_reader
from tests.integration.gateway.test_subscribe import assert_shows
from tests.integration.gateway.websocket_client import WebSocketClient


async def closed_for(scene: Scene, reason: str, *data: bytes) -> CloseFrame:
    """What it sends ends it with 1008."""
    async with await scene.open() as one:
        for some in data:
            one.send(some)
        closed = await one.until_closed()
    assert (closed.code, closed.reason["code"]) == (1008, reason)
    assert set(closed.reason) == {"code", "message"}
    await scene.assert_logged("closed", "payload", code=1008, reason=reason)
    return closed


async def test_row_24_too_many_messages(scene: Scene) -> None:
    """The third time from one address it is abuse."""
    codes = []
    for _ in range(3):
        async with await scene.open() as one:
            for _ in range(60):
                one.send(message("ping", x="payload"))
            closed = await one.until_closed()
        errors = [frame for frame in one.frames if frame["type"] == "error"]
        assert {error["code"] for error in errors} == {"rate_limited"}
        assert all(error["temporary"] and error["retry_after_ms"] > 0 for error in errors)
        assert len([frame for frame in one.frames if frame["type"] == "ok"]) >= 30
        codes.append((closed.code, closed.reason["code"], "retry_after_ms" in closed.reason))
        await scene.assert_logged("closed", "payload", code=closed.code)
    assert codes == [(4013, "rate_limited", True), (4013, "rate_limited", True), (4509, "abuse", False)]


async def test_row_24_too_many_errors(make_scene: MakeScene) -> None:
    scene = await make_scene(message_rate=1000)
    async with await scene.open() as one:
        for _ in range(60):
            one.send(message("payload"))
        closed = await one.until_closed()
    assert len([frame for frame in one.frames if frame["type"] == "error"]) == 51
    assert (closed.code, closed.reason["code"]) == (4013, "rate_limited")
    await scene.assert_neighbour_unaffected()
    told = scene.log.events()  # not 51 times
    assert 1 <= len(told) <= 22
    scene.assert_log("payload", lines=len(told))


async def test_row_28_churn_of_subscriptions(make_scene: MakeScene) -> None:
    """Each costs a read: so many a second, whatever is unsubscribed meanwhile."""
    scene = await make_scene(message_rate=1000)
    before = await scene.gateway.counter("account_reads")
    async with await scene.open() as one:
        for number in range(40):
            names = [f"account:payload-{number}-{one}" for one in range(16)]
            one.send(message("subscribe", channels=[{"channel": name} for name in names]))
            one.send(message("unsubscribe", channels=names))
        closed = await one.until_closed()
    assert (closed.code, closed.reason["code"]) == (4013, "rate_limited")
    assert closed.reason["retry_after_ms"] >= 10_000
    assert await scene.gateway.counter("account_reads") - before <= 300  # of 640
    await scene.assert_logged("closed", "payload", code=4013, reason="rate_limited")


async def test_row_29_a_flood_of_pings(scene: Scene) -> None:
    await closed_for(scene, "controls", frame(PING, b"payload") * 200)


async def test_row_29_a_few_pings_are_answered(scene: Scene) -> None:
    async with await scene.open() as one:
        one.send(frame(PING, b"hello") * 10)
        pongs = 0
        while pongs < 10:
            opcode, payload = await one.read_frame()
            if opcode != TEXT:
                assert (opcode, payload) == (PONG, b"hello")
                pongs += 1
    scene.assert_log()


async def test_row_29_empty_fragments(scene: Scene) -> None:
    await closed_for(scene, "fragments", frame(TEXT, fin=False), *[frame(CONT, fin=False)] * 100)


async def test_row_29_fragments_without_an_end(scene: Scene) -> None:
    await closed_for(scene, "fragments", frame(TEXT, b'"', fin=False), *[frame(CONT, b"p", fin=False)] * 100)


@pytest.mark.parametrize(
    "begun",
    [
        frame(TEXT, b"payload", fin=False),
        frame(TEXT, b"payload")[:8],
        frame(TEXT, b"payload" * 100)[:5],
        frame(TEXT, b"payload")[:1],
        message("ping") + frame(TEXT, b"payload")[:8],
    ],
    ids=["fragment", "frame", "head of a frame", "byte", "after a message"],
)
async def test_row_29_a_message_that_does_not_end(make_scene: MakeScene, begun: bytes) -> None:
    scene = await make_scene(message_timeout_seconds=0.4)
    began = asyncio.get_running_loop().time()
    await closed_for(scene, "assembly", begun)
    assert 0.3 < asyncio.get_running_loop().time() - began < 3


@pytest.mark.parametrize("piece", ["byte", "fragment"])
async def test_row_29_a_message_that_ends_never(make_scene: MakeScene, piece: str) -> None:
    """Every piece is progress; the whole has its time all the same. Pings between do not help."""
    scene = await make_scene(message_timeout_seconds=0.4)
    async with await scene.open() as one:
        closed = asyncio.create_task(one.until_closed())
        one.send(frame(TEXT, b"payload" * 100)[:9] if piece == "byte" else frame(TEXT, b"payload", fin=False))
        for number in range(60):
            await asyncio.wait({closed}, timeout=0.02)
            if closed.done():
                break
            one.send(b"x" if piece == "byte" else frame(PING) if number % 5 == 0 else frame(CONT, fin=False))
        assert (await closed).reason["code"] == "assembly"
    await scene.assert_logged("closed", "payload", code=1008, reason="assembly")


async def test_row_29_who_ends_every_message_has_no_end(make_scene: MakeScene) -> None:
    scene = await make_scene(message_timeout_seconds=0.3)
    async with await scene.open() as one:
        text = message("ping")
        half = len(text) // 2
        one.send(text[:half])
        for _ in range(8):
            await asyncio.sleep(0.1)  # less than a message has, and more in all
            one.send(text[half:] + text[:half])
            await one.until("ok")
    scene.assert_log()


async def test_row_30_a_reader_that_is_too_slow(make_scene: MakeScene) -> None:
    """It takes 20 kB/s of a hundred times more: conflated, then from a position; it is never closed."""
    scene = await make_scene(send_buffer_bytes=8192, ping_interval_seconds=2.0, write_timeout_seconds=4.0)
    projector = scene.projector
    await projector.open("busy")
    async with WebSocketClient(scene.gateway.ws) as quick, await scene.open(narrow=True) as slow:
        await quick.subscribe("busy")
        await quick.until_at("busy", 1)
        slow.send(message("subscribe", channels=[{"channel": "account:busy"}]))
        await slow.until("snapshot")
        reading = asyncio.create_task(at_pace(slow, 20_000))
        for number in range(100):
            await projector.transfer("busy", *[number] * 20)
        shown = await quick.until_at("busy", 4001)
        assert_shows(shown, projector.account("busy"))
        async with asyncio.timeout(60):
            while not any(one.get("to") == 4001 for one in slow.frames):
                await asyncio.wait({reading}, timeout=0.05)
                assert not reading.done()
        reading.cancel()
        deltas = [one for one in slow.frames if one["type"] == "delta"]
        assert all(one["from"] == before["to"] for before, one in pairwise(deltas))
        transfers = [transfer for one in deltas for transfer in one["transfers"]]
        assert transfers == shown.transfers  # each once, in order
        assert len(deltas) < 100
    await scene.assert_neighbour_unaffected()
    scene.assert_log()


async def at_pace(one: RawConnection, per_second: int) -> None:
    """Reads so many bytes a second, and keeps the messages."""
    heard = bytearray()
    while True:
        chunk = await one.reader.read(per_second // 20)
        assert chunk, "closed"
        heard += chunk
        while found := whole(heard):
            opcode, payload = found
            if opcode == TEXT:
                one.frames.append(json.loads(payload))
            elif opcode == PING:
                one.send(frame(PONG, payload))
        await asyncio.sleep(0.05)


def whole(heard: bytearray) -> tuple[int, bytes] | None:
    """Opcode and payload of the first frame, taken off; None: it has not come in full."""
    if len(heard) < 2:
        return None
    wide = {126: 2, 127: 8}.get(heard[1], 0)
    if len(heard) < 2 + wide:
        return None
    size = int.from_bytes(heard[2 : 2 + wide], "big") if wide else heard[1]
    if len(heard) < 2 + wide + size:
        return None
    opcode, payload = heard[0] & 0x0F, bytes(heard[2 + wide : 2 + wide + size])
    del heard[: 2 + wide + size]
    return opcode, payload


async def test_row_30_a_reader_that_does_not_read(make_scene: MakeScene) -> None:
    scene = await make_scene(send_buffer_bytes=8192, ping_interval_seconds=1.0, write_timeout_seconds=2.0)
    async with await stalled_reader(scene.gateway.http, scene.projector):
        await scene.gateway.until_sessions(1)
    await scene.assert_logged("closed", code=1006, reason="no_progress")


async def test_row_30_who_answers_no_ping(make_scene: MakeScene) -> None:
    """With nothing to send, silence alone tells."""
    scene = await make_scene(ping_interval_seconds=0.2, heartbeat_interval_seconds=60.0)
    async with await scene.connect() as one:
        one.send(HANDSHAKE_HEAD + CRLF)
        await one.read_all()
    await scene.assert_logged("closed", code=1006, reason="silent")
