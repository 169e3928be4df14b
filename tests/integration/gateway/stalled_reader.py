"""A client that subscribes to a busy account and stops reading."""

from tests.integration.gateway.bad_input.raw import RawConnection, message
from tests.integration.gateway.fake_projector import FakeProjector


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
