"""A recorder restores its accounts: how long it may take, what it reads again, and what it survives."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from livebalance.recorder import restore, saved_ledger
from livebalance.recorder.ledger import Ledger
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import read_range
from livebalance.stack.paths import free_port
from livebalance.stack.servers.topics import Topics
from livebalance.wire.kafka.raw_record import RawRecord
from tests.integration.recorder.halted_partitions import recreate
from tests.integration.recorder.many_balances import account_id, write_balances
from tests.integration.recorder.recorder_process import recorder_process, running_recorder, settings
from tests.integration.recorder.topic_records import (
    has_transfers,
    plain_producer,
    read_balances,
    send_transfers,
    transfer,
    wait_until,
)
from tests.servers.database import Database

MANY = 100_000  # balances, which take longer to read than SHORT
SHORT = 3.0  # seconds without progress


async def readiness(port: int) -> str:
    """Returns the answer of /readyz, "ok" if the recorder is ready."""
    async with httpx.AsyncClient(timeout=30) as http:
        try:
            answer = await http.get(f"http://127.0.0.1:{port}/readyz")
        except httpx.TransportError:
            return "not started"
    return "ok" if answer.status_code == 200 else answer.text


async def history(kafka: str, topics: Topics, account: str) -> list[tuple[int, str]]:
    """Returns version and amount of the account's balances."""
    balances = [written.balance for written in await read_balances(kafka, topics)]
    return [(balance.version, str(balance.amount)) for balance in balances if balance.account == account]


async def erase(kafka: str, topics: Topics, account: str) -> None:
    async with plain_producer(kafka) as producer:
        await producer.send_and_wait(topics.balances, None, account.encode(), 0)


@pytest.fixture
def saving(
    kafka: str, topics: Topics, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RecorderSettings:
    """Settings of a recorder that saves its accounts all the time."""
    monkeypatch.setattr(saved_ledger, "_SAVE_SECONDS", 0.0)
    return settings(kafka, topics, database, accounts_directory=tmp_path / "accounts")


class Reads:
    """What was read of each partition while accounts were restored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offsets: dict[TopicPartition, list[int]] = {}
        monkeypatch.setattr(restore, "read_range", self._read_range)

    async def _read_range(
        self,
        kafka: Broker,
        at: TopicPartition,
        on_record: Callable[[RawRecord], None],
        *given: Any,
        **named: Any,
    ) -> int:
        offsets = self.offsets.setdefault(at, [])

        def count(record: RawRecord) -> None:
            offsets.append(record.offset)
            on_record(record)

        return await read_range(kafka, at, count, *given, **named)


async def save_after(recorder_settings: RecorderSettings, is_done: Callable[[], Awaitable[bool]]) -> None:
    """Runs a recorder until a condition is true and its accounts are saved."""
    saved = asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        save = saved_ledger.SavedLedger.save

        async def watched_save(self: saved_ledger.SavedLedger) -> None:
            await save(self)
            await self.saved()
            saved.set()

        patch.setattr(saved_ledger.SavedLedger, "save", watched_save)
        async with running_recorder(recorder_settings):
            await wait_until(is_done)
            for _ in range(2 * 3):  # partitions: each saves at least once more
                saved.clear()
                await asyncio.wait_for(saved.wait(), 30)


async def test_restore_that_takes_longer_than_the_deadline_ends(
    kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, it had the deadline as a whole: it began again for ever, while /readyz said ok or nothing."""
    prepare = saved_ledger.SavedLedger.prepare

    async def prepare_slowly(self: saved_ledger.SavedLedger, records: Sequence[RawRecord]) -> None:
        await asyncio.sleep(1.5 * SHORT * len(records) / MANY)
        await prepare(self, records)

    monkeypatch.setattr(saved_ledger.SavedLedger, "prepare", prepare_slowly)
    await write_balances(kafka, topics, 0, range(MANY))
    await send_transfers(kafka, topics, [transfer("t-0", account_id(MANY - 1), 1)], partition=0)
    port, seen = free_port(), set[str]()
    changed: dict[str, Any] = {"kafka_timeout_seconds": SHORT, "http_port": port}

    async def is_ready() -> bool:
        seen.add(await readiness(port))
        return "ok" in seen

    async with running_recorder(settings(kafka, topics, database, **changed)):
        begin = time.monotonic()
        await wait_until(is_ready, 120)
        assert time.monotonic() - begin > SHORT
        assert any(text.startswith("partition 0 is being restored: offset ") for text in seen)
        at, records = TopicPartition(topics.balances, 0), list[RawRecord]()

        async def is_recorded() -> bool:
            records.clear()
            await read_range(Broker(kafka), at, records.append, MANY)
            return bool(records)

        await wait_until(is_recorded)
    assert [record.key for record in records] == [account_id(MANY - 1).encode()]


async def test_other_partitions_are_recorded_while_a_partition_is_restored(
    kafka: str, topics: Topics, database: Database
) -> None:
    """The restore waits for an open transaction (decision 7)."""
    port = free_port()
    opener = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"opener-{topics.balances}")
    await opener.start()
    try:
        await opener.begin_transaction()
        await opener.send_and_wait(topics.balances, b"bad", b"a", 0)
        async with running_recorder(settings(kafka, topics, database, http_port=port)):
            await send_transfers(kafka, topics, [transfer("other", "b", 1)], partition=1)
            at = TopicPartition(topics.balances, 1)

            async def is_recorded() -> bool:
                records = list[RawRecord]()
                await read_range(Broker(kafka), at, records.append)
                return len(records) == 2

            await wait_until(is_recorded)
            await wait_until(partial(is_restoring, port, "partition 0 is being restored: offset 0 of 0"))
            await opener.commit_transaction()
            await wait_until(partial(is_ok, port))
    finally:
        await opener.stop()


async def test_partition_is_not_recorded_before_it_is_restored(
    kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transfers wait, while another partition is recorded transfer by transfer."""
    restores, go_on, ledger = [0], asyncio.Event(), restore.Restore.ledger

    async def held_ledger(self: restore.Restore, *given: Any, **named: Any) -> Ledger:
        if self._balances.partition == 0:
            restores[0] += 1
            await go_on.wait()
        return await ledger(self, *given, **named)

    monkeypatch.setattr(restore.Restore, "ledger", held_ledger)
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    # One that is paused for longer joins its group again, and may have to restore its partitions again.
    patient = settings(kafka, topics, database, session_timeout_ms=30_000)
    async with running_recorder(patient):
        for id_ in ("u-0", "u-1", "u-2"):
            await send_transfers(kafka, topics, [transfer(id_, "b", 1)], partition=1)
            at = TopicPartition(topics.balances, 1)
            await wait_until(partial(has_record_of, kafka, at, id_))
        assert restores[0] <= 1  # it may not have begun
        go_on.set()
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    assert restores == [1]


async def has_record_of(kafka: str, at: TopicPartition, id_: str) -> bool:
    records = list[RawRecord]()
    await read_range(Broker(kafka), at, records.append)
    return any(id_.encode() in (record.value or b"") for record in records)


async def is_restoring(port: int, progress: str) -> bool:
    return progress in await readiness(port)


async def is_ok(port: int) -> bool:
    return await readiness(port) == "ok"


async def test_restart_reads_only_what_follows_the_saved_accounts(
    kafka: str, topics: Topics, saving: RecorderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write_balances(kafka, topics, 0, range(3_000))
    await send_transfers(kafka, topics, [transfer("t-0", account_id(7), 1)], partition=0)
    await save_after(saving, partial(has_transfers, kafka, topics, "t-0"))
    await erase(kafka, topics, account_id(8))
    await send_transfers(
        kafka, topics, [transfer("t-1", account_id(n), 1) for n in (7, 8, 2_999)], partition=0
    )
    reads = Reads(monkeypatch)
    async with running_recorder(saving):
        await wait_until(partial(is_recorded_as_often, kafka, topics, 3))
    assert len(reads.offsets[TopicPartition(topics.balances, 0)]) <= 4  # at most t-0's, and the erasure
    assert await history(kafka, topics, account_id(7)) == [(1, "0.07"), (2, "0.08"), (3, "0.09")]
    assert await history(kafka, topics, account_id(8)) == [(1, "0.08"), (0, "0.00"), (1, "0.01")]
    assert await history(kafka, topics, account_id(2_999)) == [(1, "29.99"), (2, "30.00")]


async def is_recorded_as_often(kafka: str, topics: Topics, count: int) -> bool:
    """Returns whether the transfer t-1 of `count` accounts is recorded."""
    balances = await read_balances(kafka, topics)
    return sum(written.balance.transfer_id == "t-1" for written in balances) == count


@pytest.mark.parametrize("point", ["recorder_before_commit", "recorder_after_commit", "recorder_before_save"])
async def test_recorder_killed_between_commit_and_save_repeats_and_loses_nothing(
    kafka: str, topics: Topics, saving: RecorderSettings, tmp_path: Path, point: str
) -> None:
    sent = [transfer(f"t-{n}", f"acc-{n % 3}", 1) for n in range(9)]
    await send_transfers(kafka, topics, sent[:3], partition=0)
    await save_after(saving, partial(has_transfers, kafka, topics, "t-2"))
    doomed = recorder_process(saving, tmp_path / "log", failpoint=point)

    async def is_killed() -> bool:
        return doomed.exit_code == -signal.SIGKILL

    doomed.start()
    try:
        await send_transfers(kafka, topics, sent[3:], partition=0)
        await wait_until(is_killed, 60)
    finally:
        doomed.kill()
    async with running_recorder(saving):
        await wait_until(partial(has_transfers, kafka, topics, *(f"t-{n}" for n in range(9))), 60)
    for n in range(3):
        assert await history(kafka, topics, f"acc-{n}") == [(v, f"0.0{v}") for v in range(4)]


def write_over(directory: Path, offset: int) -> None:
    [file] = directory.glob("*-0.0.sqlite")
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(b"\xff" * 4096)


@pytest.mark.parametrize("offset", [0, 4096], ids=["header", "content"])
async def test_damaged_file_is_restored_from_kafka(
    kafka: str, topics: Topics, saving: RecorderSettings, offset: int
) -> None:
    assert saving.accounts_directory
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    await save_after(saving, partial(has_transfers, kafka, topics, "t-0"))
    write_over(saving.accounts_directory, offset)
    await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
    async with running_recorder(saving):
        await wait_until(partial(has_transfers, kafka, topics, "t-1"), 60)
    assert await history(kafka, topics, "a") == [(0, "0.00"), (1, "0.01"), (2, "0.02")]


async def test_accounts_of_another_topic_are_not_used(
    kafka: str, topics: Topics, saving: RecorderSettings, database: Database
) -> None:
    """The topic of balances is another one, and so is the projection: only the file is as before."""
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    await save_after(saving, partial(has_transfers, kafka, topics, "t-0"))
    await database.drop()
    await database.create()
    await recreate(kafka, topics.balances, topics.partitions)
    await send_transfers(kafka, topics, [transfer("t-1", "a", 5)], partition=0)
    async with running_recorder(saving):
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    assert await history(kafka, topics, "a") == [(0, "0.00"), (1, "0.05")]
