"""Transfers that were deleted before they were applied halt their partition, and no other partition."""

import signal
from functools import partial
from pathlib import Path

from livebalance.stack.servers.topics import Topics
from tests.integration.recorder.halted_partitions import (
    continue_partition,
    delete_records,
    halted,
    wait_until_halted,
)
from tests.integration.recorder.recorder_process import recorder_process, running_recorder, settings
from tests.integration.recorder.topic_records import (
    has_transfers,
    read_balances,
    send_transfers,
    transfer,
    wait_until,
)
from tests.servers.database import Database


async def applied_ids(kafka: str, topics: Topics, account: str) -> list[str]:
    balances = [written.balance for written in await read_balances(kafka, topics)]
    return [balance.transfer_id for balance in balances if balance.account == account and balance.version]


async def test_records_deleted_ahead_of_a_running_recorder_halt_their_partition(
    kafka: str, topics: Topics, database: Database, tmp_path: Path
) -> None:
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    process = recorder_process(settings(kafka, topics, database), tmp_path / "log")
    process.start()
    try:
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
        process.send(signal.SIGSTOP)
        sent = [transfer(f"t-{number}", "a", 1) for number in range(1, 12)]
        await send_transfers(kafka, topics, sent, partition=0)
        await delete_records(kafka, topics.transfers, 0, before=10)
        process.send(signal.SIGCONT)
        await send_transfers(kafka, topics, [transfer("other", "b", 1)], partition=1)
        await wait_until(partial(has_transfers, kafka, topics, "other"))
        await wait_until(lambda: _is_halted(database))
        # The broker has answered the fetch that waited at SIGSTOP, with the first records.
        ids = await applied_ids(kafka, topics, "a")
        assert ids == [f"t-{number}" for number in range(len(ids))]
        reason = f"{topics.transfers} begins at 10 but {len(ids)} comes next: history was lost"
        assert await halted(database) == {0: reason}
    finally:
        process.kill()


async def _is_halted(database: Database) -> bool:
    return bool(await halted(database))


async def test_records_deleted_while_no_recorder_runs_halt_their_partition(
    kafka: str, topics: Topics, database: Database
) -> None:
    recorder_settings = settings(kafka, topics, database)
    await send_transfers(kafka, topics, [transfer(f"t-{n}", "a", 1) for n in range(5)], partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(partial(has_transfers, kafka, topics, "t-4"))
    await send_transfers(kafka, topics, [transfer(f"more-{n}", "a", 1) for n in range(5)], partition=0)
    await delete_records(kafka, topics.transfers, 0, before=8)
    async with running_recorder(recorder_settings):
        await wait_until_halted(
            database, {0: f"{topics.transfers} begins at 8 but 5 comes next: history was lost"}
        )
        await send_transfers(kafka, topics, [transfer("other", "b", 1)], partition=1)
        await wait_until(partial(has_transfers, kafka, topics, "other"))
        assert (await applied_ids(kafka, topics, "a"))[-1] == "t-4"
        await continue_partition(kafka, topics, database, 0, "--from-first")
        await wait_until(partial(has_transfers, kafka, topics, "more-4"))
        assert await halted(database) == {}
    assert await applied_ids(kafka, topics, "a") == [
        *(f"t-{n}" for n in range(5)),
        "more-3",
        "more-4",
    ]


async def test_partition_that_continues_while_its_cause_lasts_halts_again(
    kafka: str, topics: Topics, database: Database
) -> None:
    recorder_settings = settings(kafka, topics, database)
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    await send_transfers(kafka, topics, [transfer(f"more-{n}", "a", 1) for n in range(5)], partition=0)
    await delete_records(kafka, topics.transfers, 0, before=3)
    reason = f"{topics.transfers} begins at 3 but 1 comes next: history was lost"
    async with running_recorder(recorder_settings):
        await wait_until_halted(database, {0: reason})
        await continue_partition(kafka, topics, database, 0)
        await wait_until_halted(database, {0: reason})
