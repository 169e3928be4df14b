"""A client that asks for a lower rate."""

from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.conftest import RunningGateway
from tests.integration.gateway.fake_projector import FakeProjector

ACCOUNTS = [f"rated-{number}" for number in range(16)]
TRANSFERS = 60  # of each account, so that all snapshots together are more than may wait for a client


async def test_client_with_a_rate_gets_many_accounts_with_one_read_of_each(
    gateway: RunningGateway, projector: FakeProjector
) -> None:
    await projector.open(*ACCOUNTS)
    await projector.write({account: [125_000] * TRANSFERS for account in ACCOUNTS})
    before = await gateway.counter("account_reads")
    async with CheckedClient([gateway.ws], ACCOUNTS) as client:
        client.rate(0.1)
        await client.until_current(projector)
    assert await gateway.counter("account_reads") - before == len(ACCOUNTS)
