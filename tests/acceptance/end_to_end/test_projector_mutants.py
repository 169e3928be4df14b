"""Two rules of the projector, each seen to be needed: the proof that passes with them fails without."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.end_to_end.conftest import ACCOUNTS, NewCluster
from tests.acceptance.end_to_end.end_to_end_check import Proof
from tests.acceptance.end_to_end.paused_projector import zombie

pytestmark = pytest.mark.timeout(180)

RATE = 150  # transfers a second
VICTIM = "projector-1"


async def death(proof: Proof) -> None:
    """A projector dies right before its commit."""
    async with proof.feeding(seed=2, rate=RATE):
        await proof.delivered(10, within=30)
        proof.arm(VICTIM, "before_commit:5")
        await proof.died(VICTIM, within=30)
        await proof.delivered(30, within=30)
    await proof.compare(await proof.settled(within=30))


@contextmanager
def convicted() -> Iterator[None]:
    """The proof fails, by an assertion of its own; what it says is shown."""
    with pytest.raises((AssertionError, ExceptionGroup)) as seen:
        yield
    said = list(_leaves(seen.value))
    assert all(isinstance(error, AssertionError) for error in said), said
    print(f"the proof said: {said[0]}")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


@pytest.mark.mutant
async def test_without_the_fence_a_zombie_is_found_out(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        proof = Proof(cluster, ACCOUNTS)
        with convicted():
            async with proof.watched():
                await zombie(proof, 1, "no-fence")
                await proof.compare(await proof.settled(within=30))


@pytest.mark.mutant
async def test_publishing_before_the_commit_is_found_out(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        proof = Proof(cluster, ACCOUNTS)
        await proof.plant(VICTIM, "publish-first")
        with convicted():
            async with proof.watched():
                await death(proof)
