"""Pauses a projector in the middle of a batch, and resumes it when another projector owns its lanes."""

import signal

from tests.acceptance.end_to_end.end_to_end_check import EndToEndCheck

PROJECTOR = "projector-1"
RATE = 75  # transfers per second


async def pause_and_resume(check: EndToEndCheck, seed: int, *mutants: str) -> None:
    """Makes a zombie of a projector, under load; `mutants` are applied to it as well."""
    await check.start_mutants(PROJECTOR, "pause", *mutants)
    async with check.feeding(seed, RATE):
        await check.wait_until_paused(PROJECTOR, within=60)
        await check.wait_until_lanes_are_lost(PROJECTOR, within=60)
        await check.wait_for_deltas(30, within=60)
        check.cluster.supervisors[PROJECTOR].child.send(signal.SIGCONT)
        await check.wait_for_deltas(30, within=60)
