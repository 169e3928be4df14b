"""An account exists from its first transfer on, also for a client that missed the delta of that transfer."""

from tests.integration.gateway.conftest import StartGateway
from tests.integration.gateway.fake_projector import FakeProjector
from tests.integration.gateway.websocket_client import WebSocketClient


async def test_client_that_missed_the_first_transfer_of_an_account_gets_it(
    start_gateway: StartGateway, projector: FakeProjector
) -> None:
    gateway = await start_gateway(audit_interval_seconds=0.3)
    async with WebSocketClient(gateway.ws) as client:
        await client.subscribe("newborn")
        await client.until_at("newborn", 0)
        projector.silent = True
        await projector.write({"newborn": [100]})
        await client.until(lambda: client.of_type("delta") or client.of_type("unsubscribed"))
        assert client.of_type("unsubscribed") == []
        shown = client.shown["newborn"]
        assert (shown.balance, [transfer["amount"] for transfer in shown.transfers]) == (None, ["1.00"])
