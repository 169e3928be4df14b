"""Two rules of the projector, each seen to be needed: the same proof fails when it is taken away."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.proof.conftest import ACCOUNTS, NewCluster
from tests.acceptance.proof.proof import Proof

pytestmark = pytest.mark.timeout(180)

RATE = 150  # transfers a second
ZOMBIE = "projector-1"


async def zombie(proof: Proof) -> None:
    """A projector stops in the middle of a batch; the other takes its lanes over; then it goes on."""
    await proof.cluster.watches[ZOMBIE].stop()
    proof.cluster.watches[ZOMBIE].start()
    async with proof.feeding(seed=1, rate=RATE):
        await proof.stopped(ZOMBIE, within=30)
        await proof.overtaken(ZOMBIE, within=30)
        await proof.delivered(30, within=30)
        proof.cluster.watches[ZOMBIE].child.send(signal.SIGCONT)
        await proof.delivered(30, within=30)
    await proof.compare(await proof.settled(within=30))


async def death(proof: Proof) -> None:
    """A projector dies right before its commit."""
    async with proof.feeding(seed=2, rate=RATE):
        await proof.arm(ZOMBIE, "before_commit:5")
        await proof.died(ZOMBIE, within=30)
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


async def test_a_zombie_writes_nothing(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        proof = Proof(cluster, ACCOUNTS)
        proof.plant(ZOMBIE, "pause")
        async with proof.watched():
            await zombie(proof)


@pytest.mark.mutant
async def test_without_the_fence_a_zombie_is_found_out(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        proof = Proof(cluster, ACCOUNTS)
        proof.plant(ZOMBIE, "pause", "no-fence")
        with convicted():
            async with proof.watched():
                await zombie(proof)


@pytest.mark.mutant
async def test_publishing_before_the_commit_is_found_out(new_cluster: NewCluster) -> None:
    async with new_cluster() as cluster:
        proof = Proof(cluster, ACCOUNTS)
        proof.plant(ZOMBIE, "publish-first")
        with convicted():
            async with proof.watched():
                await death(proof)
