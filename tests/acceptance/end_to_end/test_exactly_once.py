"""20 seeded runs: a gateway and a projector die by -9 under load; nothing is lost, repeated or invented."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio

from tests.acceptance.end_to_end.conftest import ACCOUNTS, NewCluster
from tests.acceptance.end_to_end.end_to_end_check import Proof
from tests.acceptance.end_to_end.paused_projector import zombie

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

RATE = 150  # transfers a second
PROJECTOR_POINTS = ("before_commit", "after_commit", "between_publishes")  # after: between commit and publish
GATEWAY_POINTS = ("after_snapshot", "while_delivering")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def proof(new_cluster: NewCluster) -> AsyncIterator[Proof]:
    async with new_cluster() as cluster:
        proof = Proof(cluster, ACCOUNTS)
        async with proof.watched():
            yield proof


@pytest.mark.parametrize("seed", range(20))
async def test_records_fed_are_rows_of_sql_are_each_clients_log(proof: Proof, seed: int) -> None:
    chosen = Random(seed)
    projector, gateway = (f"{kind}-{chosen.randint(1, 2)}" for kind in ("projector", "gateway"))
    point = GATEWAY_POINTS[seed % 2]
    passes = 1 if point == "after_snapshot" else chosen.randint(1, 30)

    async with proof.feeding(seed, RATE):
        await proof.delivered(10, within=30)
        async with proof.reconnecting(gateway, within=30):
            proof.arm(projector, f"{PROJECTOR_POINTS[seed % 3]}:{chosen.randint(1, 10)}")
            proof.arm(gateway, f"{point}:{passes}")
            await asyncio.gather(proof.died(projector, 30), proof.died(gateway, 30), proof.visit(gateway, 30))
        await proof.delivered(10, within=30)  # to the client of each gateway, and through the balancer

    await proof.compare(await proof.settled(within=30))


async def test_a_zombie_writes_nothing(proof: Proof) -> None:
    await zombie(proof, seed=20)
    await proof.compare(await proof.settled(within=30))


async def test_all_of_it_compared_again_from_the_beginning(proof: Proof) -> None:
    await proof.compare_again(await proof.settled(within=30))
