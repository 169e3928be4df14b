"""The status frame has the state of the pipeline. It is sent after the welcome, and on each change."""

import pytest

from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import WebSocketClient


def last_state(client: WebSocketClient) -> str | None:
    statuses = client.of_type("status")
    return statuses[-1]["state"] if statuses else None


async def test_gateway_between_two_rare_audits_is_ready(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await projector.open("alice")
    monkeypatch.setattr("livebalance.gateway.lifecycle.MAX_AUDIT_AGE", 0.0)  # every audit is older
    gateway = await start_gateway(audit_interval_seconds=3600.0)
    async with WebSocketClient(gateway.ws) as client:
        await client.until(lambda: client.of_type("welcome"))


async def test_status_follows_the_pipeline(
    start_gateway: StartGateway, projector: FakeProjector, monkeypatch: pytest.MonkeyPatch
) -> None:
    await projector.advance()
    gateway = await start_gateway(audit_interval_seconds=0.1)
    async with WebSocketClient(gateway.ws) as client:
        await client.until(lambda: last_state(client) == "stalled")  # the lanes are complete as of long ago
        await projector.advance()
        await client.until(lambda: last_state(client) == "live")
        await projector.publish_progress(1, behind=True)
        await client.until(lambda: last_state(client) == "catching_up")
        await projector.publish_progress(1, behind=False)
        await client.until(lambda: last_state(client) == "live")
        await projector.execute("update lane set halted_why = 'the topic was made anew' where lane = 2")
        await client.until(lambda: last_state(client) == "stalled")
        assert client.of_type("status")[-1]["reason"] == "the topic was made anew"
        await projector.execute("update lane set halted_why = null")
        await client.until(lambda: last_state(client) == "live")
        monkeypatch.setattr("livebalance.gateway.live.status.STALLED_AFTER", 0.5)
        await client.until(lambda: last_state(client) == "stalled")
        assert client.of_type("status")[-1]["reason"] == "nothing arrives"
