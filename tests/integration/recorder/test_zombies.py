"""A recorder that was paused while its partition moved, and resumes (docs/guarantees.md#zombies)."""

import signal
from pathlib import Path

import psutil
import pytest

from livebalance.stack.servers.topics import Topics
from tests.conftest import MakeTopics
from tests.integration.recorder import paused_recorder
from tests.integration.recorder.recorder_process import recorder_process, running_recorder, settings
from tests.integration.recorder.topic_records import read_balances, send_transfers, transfer, wait_until
from tests.servers.database import Database


async def count_balances(kafka: str, topics: Topics, database: Database, log: Path, *arguments: str) -> int:
    """Returns how many balance records ten transfers have made after the paused recorder has resumed."""
    recorder_settings = settings(kafka, topics, database)
    paused = recorder_process(recorder_settings, log, (str(paused_recorder.__file__), *arguments))

    async def is_paused() -> bool:
        return bool(paused.pid) and psutil.Process(paused.pid).status() == psutil.STATUS_STOPPED

    async def has_balances(count: int) -> bool:
        return len(await read_balances(kafka, topics)) >= count

    async def is_released_or_done() -> bool:
        return "partition released" in "\n".join(paused.tail()) or await has_balances(21)

    await send_transfers(kafka, topics, [transfer(f"t-{n}", "a", 100) for n in range(10)])
    paused.start()
    try:
        await wait_until(is_paused)
        async with running_recorder(recorder_settings):
            await wait_until(lambda: has_balances(11))  # the opening, and ten transfers
            paused.send(signal.SIGCONT)
            await wait_until(is_released_or_done)
            await send_transfers(kafka, topics, [transfer("last", "a", 0)])
            await wait_until(lambda: has_last(kafka, topics))
    finally:
        paused.kill()
    balances = [written.balance for written in await read_balances(kafka, topics)]
    return len([balance for balance in balances if balance.transfer_id.startswith("t-")])


async def has_last(kafka: str, topics: Topics) -> bool:
    return any(written.balance.transfer_id == "last" for written in await read_balances(kafka, topics))


async def test_paused_recorder_after_a_takeover_applies_nothing(
    kafka: str, make_topics: MakeTopics, database: Database, tmp_path: Path
) -> None:
    assert await count_balances(kafka, await make_topics(partitions=1), database, tmp_path / "log") == 10


@pytest.mark.mutant
async def test_paused_recorder_without_fencing_applies_everything_again(
    kafka: str, make_topics: MakeTopics, database: Database, tmp_path: Path
) -> None:
    topics = await make_topics(partitions=1)
    assert await count_balances(kafka, topics, database, tmp_path / "log", "unfenced") == 20
