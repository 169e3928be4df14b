"""Two rules of the projector are necessary: without the rule, the end-to-end check fails."""

import pytest

from tests.acceptance.end_to_end.conftest import ACCOUNTS, NewCluster
from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck
from tests.acceptance.end_to_end.paused_projector import pause_and_resume
from tests.mutation.conviction import convicted_by

pytestmark = pytest.mark.timeout(600)

RATE = 75  # transfers per second
PROJECTOR = "projector-1"

# Parts of the texts and of the assertions of end_to_end_check.py and tests/checker.py.
AHEAD = "shows what Postgres does not have"  # or has no longer
DIFFERENT = "Kafka/Postgres"  # rows that a former owner has written again
ADDED_UP = "float(row.drift or"
UNORDERED = "Violation: "  # a client was sent revisions that the rows went back from


async def kill_before_commit(check: EndToEndCheck) -> None:
    """Kills a projector right before a commit, and compares all stages."""
    async with check.feeding(seed=2, rate=RATE):
        await check.wait_for_deltas(10, within=60)
        check.set_failpoint(PROJECTOR, "before_commit:5")
        await check.restart_after_failpoint(PROJECTOR, within=60)
        await check.wait_for_deltas(30, within=60)
    await check.compare(await check.wait_until_complete(within=60))


@pytest.mark.mutant
async def test_check_of_a_projector_without_the_fence_fails(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        with convicted_by(AHEAD, DIFFERENT, ADDED_UP, UNORDERED):
            async with check.running_clients():
                await pause_and_resume(check, 1, "no-fence")
                await check.compare(await check.wait_until_complete(within=60))


@pytest.mark.mutant
async def test_check_of_a_projector_that_publishes_before_the_commit_fails(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        await check.start_mutants(PROJECTOR, "publish-first")
        with convicted_by(AHEAD):
            async with check.running_clients():
                await kill_before_commit(check)
