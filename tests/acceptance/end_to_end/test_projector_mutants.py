"""Two rules of the projector are necessary: without the rule, the end-to-end check fails."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.end_to_end.conftest import ACCOUNTS, NewCluster
from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck
from tests.acceptance.end_to_end.paused_projector import pause_and_resume

pytestmark = pytest.mark.timeout(180)

RATE = 150  # transfers per second
PROJECTOR = "projector-1"


async def kill_before_commit(check: EndToEndCheck) -> None:
    """Kills a projector right before a commit, and compares all stages."""
    async with check.feeding(seed=2, rate=RATE):
        await check.wait_for_deltas(10, within=30)
        check.set_failpoint(PROJECTOR, "before_commit:5")
        await check.restart_after_failpoint(PROJECTOR, within=30)
        await check.wait_for_deltas(30, within=30)
    await check.compare(await check.wait_until_complete(within=30))


@contextmanager
def expect_failed_check() -> Iterator[None]:
    """Expects assertions of the check to fail, and nothing else. Prints the first message."""
    with pytest.raises((AssertionError, ExceptionGroup)) as raised:
        yield
    errors = list(_flatten(raised.value))
    assert all(isinstance(error, AssertionError) for error in errors), errors
    print(f"the check failed: {errors[0]}")


def _flatten(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _flatten(inner)
    else:
        yield error


@pytest.mark.mutant
async def test_check_of_a_projector_without_the_fence_fails(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        with expect_failed_check():
            async with check.running_clients():
                await pause_and_resume(check, 1, "no-fence")
                await check.compare(await check.wait_until_complete(within=30))


@pytest.mark.mutant
async def test_check_of_a_projector_that_publishes_before_the_commit_fails(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        check = EndToEndCheck(cluster, ACCOUNTS)
        await check.start_mutants(PROJECTOR, "publish-first")
        with expect_failed_check():
            async with check.running_clients():
                await kill_before_commit(check)
