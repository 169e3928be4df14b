"""A projector that is stopped in the middle of a batch, and goes on when its lanes are another's."""

import signal

from tests.acceptance.end_to_end.end_to_end_check import Proof

ZOMBIE = "projector-1"
RATE = 150  # transfers a second


async def zombie(proof: Proof, seed: int, *planted: str) -> None:
    """Returns when it is as alive as the others; `planted` is what else was done to it."""
    await proof.plant(ZOMBIE, "pause", *planted)
    async with proof.feeding(seed, RATE):
        await proof.stopped(ZOMBIE, within=30)
        await proof.overtaken(ZOMBIE, within=30)
        await proof.delivered(30, within=30)
        proof.cluster.supervisors[ZOMBIE].child.send(signal.SIGCONT)
        await proof.delivered(30, within=30)
