"""From Kafka to Postgres and Redis."""

import asyncio
from decimal import Decimal

from tests.integration.projector.world import World, history


async def test_transfers_and_balances_become_rows(world: World) -> None:
    world.start()
    await world.write(history("alice", [500, -200]) + history("bob", [100]))
    await world.until("select count(*) from transfer", 3)
    await world.until("select sum(revision)::int from balance", 8)
    accounts = await world.accounts()
    alice = accounts["alice"]
    assert (alice["balance"], alice["posted_total"], alice["revision"]) == (Decimal(3), Decimal(3), 5)
    assert (alice["opening"], alice["half_applied"], alice["drift"]) == (0, 0, 0)
    assert (alice["version"], alice["transfer_id"], alice["currency"]) == (2, "t-2", "EUR")
    assert await world.transfer_ids("alice") == ["t-1", "t-2"]
