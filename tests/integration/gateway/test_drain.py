"""SIGTERM at a gateway full of clients: all are told first, and none of them comes back with another."""

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from tests.integration.gateway.bad_input.raw import (
    CLOSE,
    CRLF,
    HANDSHAKE_HEAD,
    RawConnection,
    message,
    send_request,
)
from tests.integration.gateway.conftest import StartProcess
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess

DRAIN = 4.0
CLIENTS, DEAF, STUCK = 240, 12, 4
MOMENT = DRAIN / 5  # nobody is closed meanwhile
WITHIN = 5.0  # seconds that the exit may take beyond the drain
NOTICE = 2.0


@pytest.fixture
async def process(start_process: StartProcess) -> GatewayProcess:
    return await start_process("gateway-drained", drain_period_seconds=DRAIN, send_buffer_bytes=8192)


@dataclass
class Crowd:
    """All clients, and which of them had not been asked to go when the first of them was closed.

    Which of two sockets is read first says nothing of which was written first. But what was written before
    the first was closed is in the other sockets by then, read or not.
    """

    clients: list["Client"] = field(default_factory=list)
    unasked: list["Client"] | None = None

    def closes(self) -> None:
        if self.unasked is None:
            self.unasked = [client for client in self.clients if not client.is_asked()]


class Client:
    """It stays until it is closed, and remembers when it was told what."""

    def __init__(self, raw: RawConnection, crowd: Crowd) -> None:
        self._raw, self._crowd = raw, crowd
        self.told = self.closed = 0.0
        self.code = self.retry_after_ms = -1

    async def stay(self) -> None:
        goaway = await self._raw.until("goaway")
        self.told = time.monotonic()
        assert goaway["reconnect_within_ms"] == DRAIN * 1000
        async with asyncio.timeout(DRAIN + WITHIN):
            while (frame := await self._raw.read_frame())[0] != CLOSE:
                pass
        self._crowd.closes()
        self.closed = time.monotonic()
        self.code = int.from_bytes(frame[1][:2], "big")
        closed = self._raw
        closed.send(b"\x88\x82\0\0\0\0" + frame[1][:2])
        self.retry_after_ms = reason(frame[1])

    def is_asked(self) -> bool:
        return bool(self.told) or b'"goaway"' in self._raw.unread()


def reason(payload: bytes) -> int:
    told = json.loads(payload[2:])
    assert told["code"] == "drain"
    assert told["message"]
    wait: int = told["retry_after_ms"]
    return wait


async def deaf(gateway: GatewayProcess) -> RawConnection:
    """It does not answer the close either."""
    one = await RawConnection.open(gateway.http, narrow=True)
    one.stop_reading()
    return one


def shares(values: list[float], end: float) -> list[float]:
    """How much of them lies in each quarter of 0..end."""
    counts = [0] * 4
    for value in values:
        counts[min(int(value / end * 4), 3)] += 1
    return [count / len(values) for count in counts]


async def test_a_drain(process: GatewayProcess, projector: FakeProjector) -> None:
    await projector.open("busy")
    async with AsyncExitStack() as stack:
        raws = [
            await stack.enter_async_context(await RawConnection.open(process.http)) for _ in range(CLIENTS)
        ]
        crowd = Crowd()
        clients = crowd.clients = [Client(raw, crowd) for raw in raws]
        for number in range(DEAF + STUCK):
            one = await stack.enter_async_context(await deaf(process))
            if number < STUCK:
                one.send(message("subscribe", channels=[{"channel": "account:busy"}]))
        for number in range(40):  # more than waits anywhere for the stuck ones
            await projector.transfer("busy", *[number] * 20)
        staying = asyncio.gather(*(client.stay() for client in clients))
        began = time.monotonic()
        process.child.send(signal.SIGTERM)
        while await process.status("/readyz") != 503:
            assert time.monotonic() - began < 0.5
        newcomer = await send_request(process.http, HANDSHAKE_HEAD + CRLF)
        assert (newcomer.status, newcomer.code, newcomer.headers["retry-after"]) == (503, "draining", "5")
        await staying
        assert await process.exited(began + DRAIN + WITHIN - time.monotonic()) == 0

    assert {client.code for client in clients} == {4000}
    assert crowd.unasked == []  # everyone was asked first
    assert max(client.told for client in clients) - began < 1

    closes = sorted(client.closed - began - MOMENT for client in clients)
    assert closes[-1] < DRAIN - MOMENT + 1
    assert all(0.18 < share < 0.32 for share in shares(closes, DRAIN - MOMENT))
    assert max(later - earlier for earlier, later in pairwise(closes)) < DRAIN / 10

    waits = [client.retry_after_ms for client in clients]
    assert len(set(waits)) == CLIENTS
    assert all(0.18 < share < 0.32 for share in shares([float(wait) for wait in waits], DRAIN * 1000))
    back = sorted(client.closed - began - MOMENT + client.retry_after_ms / 1000 for client in clients)
    assert all(0.15 < share < 0.35 for share in shares(back, 2 * DRAIN - MOMENT))
    # Nowhere do more come back at once than by chance would if each had its own moment.
    per_tenth = [sum(1 for one in back if start / 10 <= one < (start + 1) / 10) for start in range(100)]
    assert max(per_tenth) <= 3 * CLIENTS / ((2 * DRAIN - MOMENT) * 10)


async def test_who_is_sent_here_before_balancers_know_is_let_in_and_asked_with_the_others(
    start_process: StartProcess,
) -> None:
    process = await start_process("gateway-noticed", drain_delay_seconds=NOTICE, drain_period_seconds=0.5)
    async with await RawConnection.open(process.http) as early:
        began = time.monotonic()
        process.child.send(signal.SIGTERM)
        while await process.status("/readyz") != 503:
            assert time.monotonic() - began < NOTICE / 2
        async with await RawConnection.open(process.http) as late:
            for raw in (early, late):
                await raw.until("goaway")
                assert time.monotonic() - began >= NOTICE
            assert (await send_request(process.http, HANDSHAKE_HEAD + CRLF)).code == "draining"


async def test_who_serves_nobody_ends_at_once(start_process: StartProcess) -> None:
    process = await start_process("gateway-empty", drain_delay_seconds=60, drain_period_seconds=60)
    process.child.send(signal.SIGTERM)
    assert await process.exited(WITHIN) == 0
