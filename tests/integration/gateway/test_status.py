"""One word for how the pipeline is: on change, and after the welcome."""

import pytest

from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import WebSocketClient


def word(client: WebSocketClient) -> str | None:
    said = client.of_type("status")
    return said[-1]["state"] if said else None


async def test_live_catching_up_and_stalled(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await projector.advance()
    gateway = await start_gateway(audit_interval_seconds=0.1)
    async with WebSocketClient(gateway.ws) as client:
        await client.until(lambda: word(client) == "stalled")  # what is there is of long ago
        await projector.advance()
        await client.until(lambda: word(client) == "live")
        await projector.publish_progress(1, behind=True)
        await client.until(lambda: word(client) == "catching_up")
        await projector.publish_progress(1, behind=False)
        await client.until(lambda: word(client) == "live")
        await projector.execute("update lane set halted_why = 'the topic was made anew' where lane = 2")
        await client.until(lambda: word(client) == "stalled")
        assert client.of_type("status")[-1]["reason"] == "the topic was made anew"
        await projector.execute("update lane set halted_why = null")
        await client.until(lambda: word(client) == "live")
        monkeypatch.setattr("livebalance.gateway.live.status.STALLED_AFTER", 0.5)
        await client.until(lambda: word(client) == "stalled")
        assert client.of_type("status")[-1]["reason"] == "nothing arrives"
