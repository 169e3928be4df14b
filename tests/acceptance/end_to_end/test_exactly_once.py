"""20 seeded runs in which a gateway and a projector are killed: nothing is lost, repeated or invented."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio

from tests.acceptance.end_to_end.conftest import ACCOUNTS, NewCluster
from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck
from tests.acceptance.end_to_end.paused_projector import pause_and_resume

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

RATE = 75  # transfers per second
# "after_commit" is passed between the commit and the publishing of a batch.
PROJECTOR_FAILPOINTS = ("before_commit", "after_commit", "between_publishes")
GATEWAY_FAILPOINTS = ("after_snapshot", "while_delivering")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def check(new_cluster: NewCluster) -> AsyncIterator[EndToEndCheck]:
    async with new_cluster() as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        async with check.running_clients():
            yield check


@pytest.mark.parametrize("seed", range(20))
async def test_records_after_two_kills_equal_rows_and_client_logs(check: EndToEndCheck, seed: int) -> None:
    random = Random(seed)
    projector, gateway = (f"{kind}-{random.randint(1, 2)}" for kind in ("projector", "gateway"))
    failpoint = GATEWAY_FAILPOINTS[seed % 2]
    passes = 1 if failpoint == "after_snapshot" else random.randint(1, 30)

    async with check.feeding(seed, RATE):
        await check.wait_for_deltas(10, within=60)
        async with check.expect_reconnect(gateway, within=60):
            check.set_failpoint(projector, f"{PROJECTOR_FAILPOINTS[seed % 3]}:{random.randint(1, 10)}")
            check.set_failpoint(gateway, f"{failpoint}:{passes}")
            await asyncio.gather(
                check.restart_after_failpoint(projector, 30),
                check.restart_after_failpoint(gateway, 30),
                check.subscribe_new_client(gateway, 30),
            )
        await check.wait_for_deltas(10, within=60)  # at each gateway, and through the balancer

    await check.compare(await check.wait_until_complete(within=60))


async def test_projector_resumed_after_losing_its_lanes_writes_nothing(check: EndToEndCheck) -> None:
    await pause_and_resume(check, seed=20)
    await check.compare(await check.wait_until_complete(within=60))


async def test_all_runs_compared_from_the_beginning_are_equal(check: EndToEndCheck) -> None:
    await check.compare_all(await check.wait_until_complete(within=60))
