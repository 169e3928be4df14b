"""SIGTERM at a gateway with many clients: it asks all of them to leave, then closes them one by one."""

import asyncio
import contextlib
import json
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import SimpleNamespace

import httpx
import pytest

from livebalance.gateway.connections import CLOSE_BATCH_SECONDS
from livebalance.gateway.lifecycle import RETRY_AFTER_DRAIN_MS, drain_schedule
from tests.integration.gateway.bad_input.raw import (
    CLOSE,
    CRLF,
    RawConnection,
    message,
)
from tests.integration.gateway.conftest import StartGateway, StartProcess
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.gateway_process import GatewayProcess

DRAIN = 4.0
CLIENTS, STALLED_IDLE, STALLED_BUSY = 240, 12, 4  # busy: with deltas waiting
WITHIN = 30.0  # seconds from the end of the drain until the exit
DELAY = 77.0
IDLE_REQUEST = b"GET /missing HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture
async def process(start_process: StartProcess) -> GatewayProcess:
    return await start_process("gateway-drained", drain_period_seconds=DRAIN, send_buffer_bytes=8192)


@dataclass
class Crowd:
    """All clients, and those that had not received `goaway` when the first client was closed.

    The order in which the test reads sockets is not the order in which the gateway wrote to them. But a frame
    that was written before the first close is in its socket by then, read or not.
    """

    clients: list["Client"] = field(default_factory=list)
    not_asked: list["Client"] | None = None

    def on_close(self) -> None:
        if self.not_asked is None:
            self.not_asked = [client for client in self.clients if not client.is_asked()]


class Client:
    """Stays connected until the gateway closes it. Remembers when it received `goaway` and the close."""

    def __init__(self, raw: RawConnection, crowd: Crowd) -> None:
        self._raw, self._crowd = raw, crowd
        self.asked_at = self.closed_at = 0.0
        self.code = self.retry_after_ms = -1

    async def stay(self) -> None:
        goaway = await self._raw.until("goaway")
        self.asked_at = time.monotonic()
        assert goaway["reconnect_within_ms"] == DRAIN * 1000
        async with asyncio.timeout(DRAIN + WITHIN):
            while (frame := await self._raw.read_frame())[0] != CLOSE:
                pass
        self._crowd.on_close()
        self.closed_at = time.monotonic()
        self.code = int.from_bytes(frame[1][:2], "big")
        self._raw.send(b"\x88\x82\0\0\0\0" + frame[1][:2])
        self.retry_after_ms = retry_after_ms(frame[1])

    def is_asked(self) -> bool:
        return bool(self.asked_at) or b'"goaway"' in self._raw.unread()


def retry_after_ms(payload: bytes) -> int:
    reason = json.loads(payload[2:])
    assert reason["code"] == "drain"
    assert reason["message"]
    wait: int = reason["retry_after_ms"]
    return wait


async def stalled_client(gateway: GatewayProcess) -> RawConnection:
    """Returns a client that reads nothing and does not answer the close."""
    connection = await RawConnection.open(gateway.http, narrow=True)
    connection.stop_reading()
    return connection


async def until_refused(gateway: GatewayProcess) -> None:
    """Waits until the port is closed, so that a balancer tries the next gateway.

    `/readyz` fails a moment earlier.
    """
    async with asyncio.timeout(WITHIN):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                async with await RawConnection.connect(gateway.http):
                    pass


async def test_drain_asks_every_client_first_and_spreads_the_closes(
    process: GatewayProcess, projector: FakeProjector
) -> None:
    await projector.open("busy")
    async with AsyncExitStack() as stack:
        raws = [
            await stack.enter_async_context(await RawConnection.open(process.http)) for _ in range(CLIENTS)
        ]
        crowd = Crowd()
        clients = crowd.clients = [Client(raw, crowd) for raw in raws]
        for number in range(STALLED_IDLE + STALLED_BUSY):
            connection = await stack.enter_async_context(await stalled_client(process))
            if number < STALLED_BUSY:
                connection.send(message("subscribe", channels=[{"channel": "account:busy"}]))
        for number in range(40):  # more bytes than all buffers of a stalled client hold
            await projector.transfer("busy", *[number] * 20)
        idle = await stack.enter_async_context(await RawConnection.connect(process.http))
        idle.send(IDLE_REQUEST)
        await idle.reader.readuntil(CRLF * 2)
        assert not idle.reader.at_eof()
        staying = asyncio.gather(*(client.stay() for client in clients))
        began = time.monotonic()
        process.child.send(signal.SIGTERM)
        while await process.status("/readyz") != 503:
            pass
        await until_refused(process)
        assert not staying.done()
        await idle.read_all()
        await staying
        assert await process.exited(began + DRAIN + WITHIN - time.monotonic()) == 0

    assert {client.code for client in clients} == {4000}
    assert crowd.not_asked == []  # every client got `goaway` first

    closes = sorted(client.closed_at - began for client in clients)
    schedule = drain_schedule(CLIENTS + STALLED_IDLE + STALLED_BUSY, DRAIN)
    assert all(at >= due - CLOSE_BATCH_SECONDS for at, due in zip(closes, schedule, strict=False))

    assert {client.retry_after_ms for client in clients} == {
        RETRY_AFTER_DRAIN_MS
    }  # the closes are spread, not the returns


async def test_clients_that_connect_during_the_drain_delay_are_accepted_and_drained(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The delay lasts until the test ends it."""
    over = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await (over.wait() if seconds == DELAY else asyncio.sleep(seconds))

    monkeypatch.setattr(
        "livebalance.gateway.connections.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep})
    )
    gateway = await start_gateway(drain_delay_seconds=DELAY, drain_period_seconds=0.5)
    async with (
        await RawConnection.open(gateway.http) as early,
        httpx.AsyncClient(base_url=gateway.operations, timeout=30) as probe,
    ):
        gateway.request_stop()
        while (await probe.get("/readyz")).status_code != 503:
            pass
        async with await RawConnection.open(gateway.http) as late:
            assert not [frame for raw in (early, late) for frame in raw.frames if frame["type"] == "goaway"]
            over.set()
            for raw in (early, late):
                await raw.until("goaway")
            with pytest.raises(ConnectionRefusedError):
                await RawConnection.connect(gateway.http)


async def test_gateway_without_clients_exits_at_once(start_process: StartProcess) -> None:
    process = await start_process("gateway-empty", drain_delay_seconds=60, drain_period_seconds=60)
    process.child.send(signal.SIGTERM)
    assert await process.exited(WITHIN) == 0
