"""The recorder on a real broker: what it writes, and that it applies each transfer once."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from livebalance.recorder.__main__ import check_topics
from livebalance.recorder.partition import NewBalance, Partition
from livebalance.recorder.restore import Restore
from livebalance.runtime.errors import StartupError
from livebalance.runtime.process import failpoints
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, Offset, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money
from tests.conftest import MakeTopics
from tests.integration.recorder.recorder_process import recorder_process, running_recorder, settings
from tests.integration.recorder.topic_records import (
    WrittenBalance,
    open_account,
    plain_producer,
    read_balances,
    read_transfers,
    send_transfers,
    transfer,
    wait_until,
)
from tests.servers.database import Database

ACCOUNTS = ["a", "b", "c", "d", "e", "f", "g", "h"]


async def has(kafka: str, topics: Topics, count: int) -> bool:
    return len(await read_balances(kafka, topics)) >= count


async def has_last(kafka: str, topics: Topics, id_: str) -> bool:
    return any(written.balance.transfer_id == id_ for written in await read_balances(kafka, topics))


def history(balances: list[WrittenBalance], account: str) -> list[tuple[int, str, str]]:
    """Returns version, transfer id and amount of an account's balances, in order."""
    own = [written.balance for written in balances if written.balance.account == account]
    return [(balance.version, balance.transfer_id, str(balance.amount)) for balance in own]


def assert_applied_once(balances: list[WrittenBalance], transfers: int) -> None:
    """Each account's versions grow by 1 from 0, and there is a balance for each of the transfers."""
    for account in {written.balance.account for written in balances}:
        versions = [version for version, *_ in history(balances, account)]
        assert versions == list(range(len(versions)))
    assert sum(written.balance.version > 0 for written in balances) == transfers


async def test_transfer_makes_one_balance(kafka: str, topics: Topics, database: Database) -> None:
    opened = Balance(AccountId("a"), "client-1", TransferId(""), Money(10000, 2), 0)
    await open_account(kafka, topics, opened)
    await send_transfers(
        kafka, topics, [transfer("t-1", "a", 1250), transfer("t-2", "a", -5, 1), transfer("t-3", "b", 7, 3)]
    )
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(lambda: has(kafka, topics, 5))
    balances = await read_balances(kafka, topics)
    assert history(balances, "a") == [(0, "", "100.00"), (1, "t-1", "112.50"), (2, "t-2", "112.00")]
    assert history(balances, "b") == [(0, "", "0.000"), (1, "t-3", "0.007")]
    assert {written.balance.client_id for written in balances if written.balance.account == "a"} == {
        "client-1"
    }


async def test_balance_has_the_source_offset_and_the_partition_of_its_transfer(
    kafka: str, topics: Topics, database: Database
) -> None:
    await send_transfers(kafka, topics, [transfer(f"t-{n}", "a", 1) for n in range(3)], partition=2)
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(lambda: has(kafka, topics, 4))
    balances = await read_balances(kafka, topics)
    assert {written.partition for written in balances} == {2}
    assert [written.source_offset for written in balances if written.balance.version] == [0, 1, 2]


async def test_transactions_of_a_healthy_recorder_are_not_retried(
    kafka: str, topics: Topics, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Kafka answered a few of a hundred with NOT_ENOUGH_REPLICAS, which was logged as a warning."""
    async with running_recorder(settings(kafka, topics, database)):
        for number in range(300):
            await send_transfers(kafka, topics, [transfer(f"t-{number}", "a", 1)], number % topics.partitions)
        await wait_until(lambda: has(kafka, topics, 300 + topics.partitions))
    assert [record.getMessage() for record in caplog.records if "retrying" in record.getMessage()] == []


async def test_account_opened_while_the_recorder_runs_is_known(
    kafka: str, topics: Topics, database: Database
) -> None:
    async with running_recorder(settings(kafka, topics, database)):
        await send_transfers(kafka, topics, [transfer("t-0", "z", 1)])
        await wait_until(lambda: has(kafka, topics, 2))
        await open_account(kafka, topics, Balance(AccountId("a"), "late", TransferId(""), Money(500, 2), 0))
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)])
        await wait_until(lambda: has_last(kafka, topics, "t-1"))
    assert history(await read_balances(kafka, topics), "a") == [(0, "", "5.00"), (1, "t-1", "5.01")]


async def test_recorder_waits_for_an_opening_that_is_not_committed(
    kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The opening is in an open transaction when a transfer of its account is read."""
    opening = Balance(AccountId("a"), "late", TransferId(""), Money(500, 2), 0)
    reading_or_writing = asyncio.Event()
    read_all_balances, commit = Restore.read_all_balances, Partition._commit

    async def watched_read(restore: Restore) -> None:
        reading_or_writing.set()
        await read_all_balances(restore)

    async def watched_commit(partition: Partition, balances: list[NewBalance], next_offset: Offset) -> None:
        reading_or_writing.set()
        await commit(partition, balances, next_offset)

    async with open_transaction(kafka, topics) as opener, running_recorder(settings(kafka, topics, database)):
        for partition in range(topics.partitions):  # whose restores would wait for the transaction
            await send_transfers(kafka, topics, [transfer("t-0", f"z-{partition}", 1)], partition)
        await wait_until(lambda: has(kafka, topics, 2 * topics.partitions))
        await opener.begin_transaction()
        await (await opener.send(topics.balances, avro.encode_balance(opening, BALANCE_ID), b"a"))
        monkeypatch.setattr(Restore, "read_all_balances", watched_read)
        monkeypatch.setattr(Partition, "_commit", watched_commit)
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)])
        await asyncio.wait_for(reading_or_writing.wait(), 30)
        await opener.commit_transaction()
        await wait_until(lambda: has_last(kafka, topics, "t-1"))
    assert history(await read_balances(kafka, topics), "a") == [(0, "", "5.00"), (1, "t-1", "5.01")]


@asynccontextmanager
async def open_transaction(kafka: str, topics: Topics) -> AsyncIterator[AIOKafkaProducer]:
    opener = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"opener-{topics.balances}")
    await opener.start()
    try:
        yield opener
    finally:
        await opener.stop()


async def test_transfer_of_an_aborted_transaction_is_not_applied(
    kafka: str, topics: Topics, database: Database
) -> None:
    async with open_transaction(kafka, topics) as producer:
        for id_ in ("aborted", "t-0"):
            await producer.begin_transaction()
            value = avro.encode_transfer(transfer(id_, "a", 1), TRANSFER_ID)
            await producer.send_and_wait(topics.transfers, value, b"a", 0)
            await (producer.abort_transaction() if id_ == "aborted" else producer.commit_transaction())
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(lambda: has_last(kafka, topics, "t-0"))
    assert history(await read_balances(kafka, topics), "a") == [(0, "", "0.00"), (1, "t-0", "0.01")]


async def test_batch_that_failed_is_recorded_again(
    kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is ahead of the topic then, and is restored."""
    failures = [0]

    def fail_once(point: str) -> None:
        if point == "recorder_before_commit" and not failures[0]:
            failures[0] += 1
            raise ConnectionResetError

    async with running_recorder(settings(kafka, topics, database)):
        await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
        await wait_until(lambda: has_last(kafka, topics, "t-0"))
        monkeypatch.setattr(failpoints, "at", fail_once)
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
        await wait_until(lambda: has_failed_or_last(failures, kafka, topics, "t-1"))
        await send_transfers(kafka, topics, [transfer("t-2", "a", 1)], partition=0)
        await wait_until(lambda: has_last(kafka, topics, "t-2"))
    assert failures == [1]
    ids = [id_ for _, id_, _ in history(await read_balances(kafka, topics), "a")]
    assert ids == ["", "t-0", "t-1", "t-2"]


async def has_failed_or_last(failures: list[int], kafka: str, topics: Topics, id_: str) -> bool:
    return failures == [1] or await has_last(kafka, topics, id_)


async def test_inadmissible_transfer_is_skipped(kafka: str, topics: Topics, database: Database) -> None:
    good = avro.encode_transfer(transfer("t-1", "a", 1), TRANSFER_ID)
    huge = avro.encode_transfer(transfer("t-2", "a", 2**63 - 1), TRANSFER_ID)
    async with plain_producer(kafka) as producer:
        for key, value in [
            (b"a", b"not a transfer"),
            (b"a", None),
            (b"a", good[:-1]),
            (b"b", good),
            (None, good),
            (b"a", good),
            (b"a", huge),  # the balance leaves int64
            (b"a", avro.encode_transfer(transfer("t 3", "a", 1), TRANSFER_ID)),
            (b"a", avro.encode_transfer(transfer("t-4", "a", 1), TRANSFER_ID)),
        ]:
            await producer.send_and_wait(topics.transfers, value, key, partition=0)
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(lambda: has_last(kafka, topics, "t-4"))
    assert history(await read_balances(kafka, topics), "a") == [
        (0, "", "0.00"),
        (1, "t-1", "0.01"),
        (2, "t-4", "0.02"),
    ]


async def test_repeated_transfer_within_the_window_is_dropped_before_and_after_a_restart(
    kafka: str, topics: Topics, database: Database
) -> None:
    recorder_settings = settings(kafka, topics, database, window=5)
    sent = [transfer("t-1", "a", 1), transfer("t-1", "a", 1), transfer("t-2", "a", 1)]
    await send_transfers(kafka, topics, sent, partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(lambda: has_last(kafka, topics, "t-2"))
    again = [transfer("t-1", "a", 1), transfer("t-2", "a", 1), transfer("t-3", "a", 1)]
    await send_transfers(kafka, topics, again, partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(lambda: has_last(kafka, topics, "t-3"))
    balances = await read_balances(kafka, topics)
    assert [id_ for _, id_, _ in history(balances, "a")] == ["", "t-1", "t-2", "t-3"]


async def test_lost_group_offset_applies_nothing_twice(
    kafka: str, topics: Topics, database: Database
) -> None:
    recorder_settings = settings(kafka, topics, database)
    await send_transfers(kafka, topics, [transfer(f"t-{n}", ACCOUNTS[n % 8], 1) for n in range(40)])
    async with running_recorder(recorder_settings):
        await wait_until(lambda: has(kafka, topics, 48))
    again = recorder_settings.model_copy(
        update={"recorder_group": recorder_settings.recorder_group + "-anew", "duplicate_window_offsets": 0}
    )
    await send_transfers(kafka, topics, [transfer("last", "a", 1)])
    async with running_recorder(again):
        await wait_until(lambda: has_last(kafka, topics, "last"))
    assert_applied_once(await read_balances(kafka, topics), transfers=41)


@pytest.mark.parametrize("point", ["recorder_before_commit", "recorder_after_commit"])
async def test_recorder_killed_at_its_commit_applies_each_transfer_once(
    kafka: str, topics: Topics, database: Database, tmp_path: Path, point: str
) -> None:
    """The recorder is killed twice, each time at its third transaction, while transfers arrive."""
    recorder_settings = settings(kafka, topics, database)
    for attempt in range(2):
        doomed = recorder_process(recorder_settings, tmp_path / f"log-{attempt}", failpoint=f"{point}:3")
        doomed.start()
        n = 0
        while doomed.pid:
            await send_transfers(kafka, topics, [transfer(f"t-{attempt}-{n}", ACCOUNTS[n % 8], 1)])
            n += 1
        assert doomed.exit_code == -signal.SIGKILL
    sent = Counter(record.id for record in await read_transfers(kafka, topics))
    await send_transfers(kafka, topics, [transfer(f"last-{account}", account, 1) for account in ACCOUNTS])
    async with running_recorder(recorder_settings):
        for account in ACCOUNTS:
            await wait_until(partial(has_last, kafka, topics, f"last-{account}"))
    assert_applied_once(await read_balances(kafka, topics), transfers=len(sent) + len(ACCOUNTS))


async def test_partitions_that_move_between_recorders_lose_and_repeat_nothing(
    kafka: str, topics: Topics, database: Database
) -> None:
    """A second recorder starts and stops twice while transfers arrive."""
    recorder_settings, n = settings(kafka, topics, database), 0
    async with running_recorder(recorder_settings):
        for _ in range(2):
            async with running_recorder(recorder_settings):
                for _ in range(60):
                    await send_transfers(kafka, topics, [transfer(f"t-{n}", ACCOUNTS[n % 8], 1)])
                    n += 1
        await send_transfers(kafka, topics, [transfer(f"last-{account}", account, 1) for account in ACCOUNTS])
        for account in ACCOUNTS:
            await wait_until(partial(has_last, kafka, topics, f"last-{account}"))
    assert_applied_once(await read_balances(kafka, topics), transfers=n + len(ACCOUNTS))


async def test_topics_that_are_missing_or_do_not_match_are_rejected(
    kafka: str, make_topics: MakeTopics, database: Database
) -> None:
    three, two = await make_topics(partitions=3), await make_topics(partitions=2)
    await check_topics(settings(kafka, three, database))
    with pytest.raises(StartupError, match="must have the same number"):
        await check_topics(settings(kafka, Topics(three.transfers, two.balances, 3), database))
    with pytest.raises(StartupError, match="there is no topic nowhere: create it first"):
        await check_topics(settings(kafka, Topics(three.transfers, "nowhere", 3), database))
