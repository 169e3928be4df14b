"""A recorder that was paused while its partition moved, and wakes (design, rule of zombies)."""

import signal
from pathlib import Path

import psutil
import pytest

from livebalance.stack.servers.topics import Topics
from tests.conftest import MakeTopics
from tests.integration.recorder import zombie
from tests.integration.recorder.process import recorder, recording, settings
from tests.integration.recorder.topics import balances, reached, send, transfer


async def woken(kafka: str, topics: Topics, log: Path, *removed: str) -> int:
    """How many balance records ten transfers have made, after the zombie had its say."""
    chosen = settings(kafka, topics)
    paused = recorder(chosen, log, (str(zombie.__file__), *removed))

    async def asleep() -> bool:
        return bool(paused.pid) and psutil.Process(paused.pid).status() == psutil.STATUS_STOPPED

    async def count(least: int) -> bool:
        return len(await balances(kafka, topics)) >= least

    async def given_up_or_done() -> bool:
        return "given up" in "\n".join(paused.tail()) or await count(21)

    await send(kafka, topics, [transfer(f"t-{n}", "a", 100) for n in range(10)])
    paused.start()
    try:
        await reached(asleep)
        async with recording(chosen):
            await reached(lambda: count(11))  # the opening and ten
            paused.send(signal.SIGCONT)
            await reached(given_up_or_done)
            await send(kafka, topics, [transfer("the-last", "a", 0)])
            await reached(lambda: last_is_there(kafka, topics))
    finally:
        paused.kill()
    found = [written.balance for written in await balances(kafka, topics)]
    return len([balance for balance in found if balance.transfer_id.startswith("t-")])


async def last_is_there(kafka: str, topics: Topics) -> bool:
    return any(written.balance.transfer_id == "the-last" for written in await balances(kafka, topics))


async def test_a_zombie_applies_nothing(kafka: str, make_topics: MakeTopics, tmp_path: Path) -> None:
    assert await woken(kafka, await make_topics(partitions=1), tmp_path / "log") == 10


@pytest.mark.mutant
async def test_a_zombie_that_nobody_fences_applies_everything_again(
    kafka: str, make_topics: MakeTopics, tmp_path: Path
) -> None:
    assert await woken(kafka, await make_topics(partitions=1), tmp_path / "log", "unfenced") == 20
