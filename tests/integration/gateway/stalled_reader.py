"""A client that subscribes to a busy account and stops reading."""

import asyncio

from livebalance.gateway.server.tcp import unacknowledged_bytes
from livebalance.gateway.server.websocket import WebSocketConnection
from tests.integration.gateway.bad_input.raw import RawConnection, message
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.narrow_socket import RECEIVE_BUFFER

LONG_INTERVAL = 3600.0  # seconds between pings, for a test that ends the intervals itself


async def stalled_reader(url: str, projector: FakeProjector) -> RawConnection:
    """Returns a client that has stopped reading, after many deltas of its account."""
    await projector.open("busy")
    client = await RawConnection.open(url, narrow=True)
    client.send(message("subscribe", channels=[{"channel": "account:busy"}]))
    await client.until("snapshot")
    client.stop_reading()
    for number in range(60):
        await projector.transfer("busy", *[number] * 20)
    return client


async def end_ping_intervals(connection: WebSocketConnection) -> None:
    """Ends the ping intervals of a stalled reader's connection until the gateway has aborted it.

    The first ends when more bytes wait than the client's system takes. If none waited, the gateway would
    send a ping, which this client does not answer, and would abort it as silent.
    """
    async with asyncio.timeout(30):
        while unacknowledged_bytes(connection.transport) < 4 * RECEIVE_BUFFER:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
        while not connection.transport.is_closing():
            connection.check()
            await asyncio.sleep(0.05)
