"""20 seeded runs: a gateway and a projector die by -9 under load; nothing is lost, repeated or invented."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio

from tests.acceptance.proof.conftest import ACCOUNTS, NewCluster
from tests.acceptance.proof.proof import Proof

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
    stop = f"{PROJECTOR_POINTS[seed % 3]}:{chosen.randint(1, 10)}"
    fall = {"after_snapshot": 1, "while_delivering": chosen.randint(5, 60)}
    point = GATEWAY_POINTS[seed % 2]

    async with proof.feeding(seed, RATE):
        await asyncio.gather(proof.arm(projector, stop), proof.arm(gateway, f"{point}:{fall[point]}"))
        await asyncio.gather(proof.died(projector, 30), proof.died(gateway, 30))
        await proof.delivered(10, within=30)  # to the client of each gateway, and through the balancer
    await proof.compare(await proof.settled(within=30))


async def test_all_of_it_compared_again_from_the_beginning(proof: Proof) -> None:
    await proof.compare_again(await proof.settled(within=30))
