"""A gateway with a maximum connection age."""

import json

from livebalance.client.event import Connected
from livebalance.wire.frame import Goaway, Snapshot
from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector, transferring
from tests.integration.gateway.sse_client import SseClient
from tests.integration.gateway.websocket_client import WebSocketClient

AGE = 1.0


async def test_clients_reconnect_at_the_maximum_age_without_a_gap(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_connection_age_seconds=AGE)
    await projector.open("alice")
    async with CheckedClient([gateway.ws], ["alice"]) as checked:
        async with transferring(projector, ["alice"], pause=0.02):
            await checked.until(lambda: len(checked.of(Connected)) == 3, within=30)
        await checked.until_current(projector)
        assert {frame.reason for frame in checked.of(Goaway)} == {"age"}
        assert len([frame for frame in checked.frames if isinstance(frame, Snapshot)]) == 1
        checked.assert_exact(projector)


async def test_client_that_ignores_goaway_is_closed_at_the_maximum_age(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(max_connection_age_seconds=AGE)
    await projector.open("alice")
    async with WebSocketClient(gateway.ws) as client, SseClient(gateway.http, "alice") as stream:
        code, reason = await client.until_closed()
        assert code == 4000
        assert client.of_type("goaway")[0]["reason"] == "age"
        close_reason = json.loads(reason)
        assert (close_reason["code"], 500 <= close_reason["retry_after_ms"] <= 1000) == ("age", True)
        end = await stream.until_end()
        assert (end.code, end.reason) == (4000, "age")
        assert stream.retry == end.retry_after_ms
