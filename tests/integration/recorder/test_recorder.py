"""The recorder on a real broker: what it writes, and that nothing makes it write twice."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.records_to_delete import RecordsToDelete

from livebalance.recorder.__main__ import check_topics
from livebalance.recorder.ledger import Ledger
from livebalance.recorder.restore import Restore
from livebalance.runtime.errors import StartupError
from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID
from livebalance.stack.errors import StackError
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money
from tests.conftest import MakeTopics
from tests.integration.recorder.process import recorder, recording, settings
from tests.integration.recorder.topics import (
    Written,
    balances,
    open_account,
    producing,
    reached,
    send,
    transfer,
    transfers,
)

ACCOUNTS = ["a", "b", "c", "d", "e", "f", "g", "h"]


async def has(kafka: str, topics: Topics, count: int) -> bool:
    return len(await balances(kafka, topics)) >= count


async def has_last(kafka: str, topics: Topics, id_: str) -> bool:
    return any(written.balance.transfer_id == id_ for written in await balances(kafka, topics))


def chain(found: list[Written], account: str) -> list[tuple[int, str, str]]:
    """Of one account, in order: version, transfer id, amount."""
    mine = [written.balance for written in found if written.balance.account == account]
    return [(balance.version, balance.transfer_id, str(balance.amount)) for balance in mine]


def assert_dense(found: list[Written], applied: int) -> None:
    """Every account's versions grow by one from 0, and so many transfers made them."""
    for account in {written.balance.account for written in found}:
        versions = [version for version, *_ in chain(found, account)]
        assert versions == list(range(len(versions)))
    assert sum(written.balance.version > 0 for written in found) == applied


async def test_each_transfer_makes_one_balance(kafka: str, topics: Topics) -> None:
    opened = Balance(AccountId("a"), "client-1", TransferId(""), Money(10000, 2), 0)
    await open_account(kafka, topics, opened)
    await send(
        kafka, topics, [transfer("t-1", "a", 1250), transfer("t-2", "a", -5, 1), transfer("t-3", "b", 7, 3)]
    )
    async with recording(settings(kafka, topics)):
        await reached(lambda: has(kafka, topics, 5))
    found = await balances(kafka, topics)
    assert chain(found, "a") == [(0, "", "100.00"), (1, "t-1", "112.50"), (2, "t-2", "112.00")]
    assert chain(found, "b") == [(0, "", "0.000"), (1, "t-3", "0.007")]
    assert {written.balance.client_id for written in found if written.balance.account == "a"} == {"client-1"}


async def test_a_balance_says_which_offset_it_holds_and_stands_in_the_lane_of_its_transfer(
    kafka: str, topics: Topics
) -> None:
    await send(kafka, topics, [transfer(f"t-{n}", "a", 1) for n in range(3)], partition=2)
    async with recording(settings(kafka, topics)):
        await reached(lambda: has(kafka, topics, 4))
    found = await balances(kafka, topics)
    assert {written.partition for written in found} == {2}
    assert [written.source_offset for written in found if written.balance.version] == [0, 1, 2]


async def test_an_account_opened_while_it_runs_is_found(kafka: str, topics: Topics) -> None:
    async with recording(settings(kafka, topics)):
        await send(kafka, topics, [transfer("t-0", "z", 1)])
        await reached(lambda: has(kafka, topics, 2))
        await open_account(kafka, topics, Balance(AccountId("a"), "late", TransferId(""), Money(500, 2), 0))
        await send(kafka, topics, [transfer("t-1", "a", 1)])
        await reached(lambda: has_last(kafka, topics, "t-1"))
    assert chain(await balances(kafka, topics), "a") == [(0, "", "5.00"), (1, "t-1", "5.01")]


async def test_an_opening_that_is_not_committed_yet_is_waited_for(
    kafka: str, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is still part of an open transaction when a plain transfer to its account is read."""
    opening = Balance(AccountId("a"), "late", TransferId(""), Money(500, 2), 0)
    reading, read_on = asyncio.Event(), Restore.read_on

    async def watched(restore: Restore, ledger: Ledger) -> None:
        reading.set()
        await read_on(restore, ledger)

    async with opening_in(kafka, topics) as opener, recording(settings(kafka, topics)):
        await send(kafka, topics, [transfer("t-0", "z", 1)])
        await reached(lambda: has(kafka, topics, 2))
        await opener.begin_transaction()
        await (await opener.send(topics.balances, avro.encode_balance(opening, BALANCE_ID), b"a"))
        monkeypatch.setattr(Restore, "read_on", watched)
        await send(kafka, topics, [transfer("t-1", "a", 1)])
        await asyncio.wait_for(reading.wait(), 30)
        await opener.commit_transaction()
        await reached(lambda: has_last(kafka, topics, "t-1"))
    assert chain(await balances(kafka, topics), "a") == [(0, "", "5.00"), (1, "t-1", "5.01")]


@asynccontextmanager
async def opening_in(kafka: str, topics: Topics) -> AsyncIterator[AIOKafkaProducer]:
    opener = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"opener-{topics.balances}")
    await opener.start()
    try:
        yield opener
    finally:
        await opener.stop()


async def test_what_is_not_admissible_is_skipped_and_the_rest_goes_on(kafka: str, topics: Topics) -> None:
    good = avro.encode_transfer(transfer("t-1", "a", 1), TRANSFER_ID)
    huge = avro.encode_transfer(transfer("t-2", "a", 2**63 - 1), TRANSFER_ID)
    async with producing(kafka) as producer:
        for key, value in [
            (b"a", b"not a transfer"),
            (b"a", None),
            (b"a", good[:-1]),
            (b"b", good),
            (None, good),
            (b"a", good),
            (b"a", huge),  # the sum leaves int64
            (b"a", avro.encode_transfer(transfer("t 3", "a", 1), TRANSFER_ID)),
            (b"a", avro.encode_transfer(transfer("t-4", "a", 1), TRANSFER_ID)),
        ]:
            await producer.send_and_wait(topics.transfers, value, key, partition=0)
    async with recording(settings(kafka, topics)):
        await reached(lambda: has_last(kafka, topics, "t-4"))
    assert chain(await balances(kafka, topics), "a") == [
        (0, "", "0.00"),
        (1, "t-1", "0.01"),
        (2, "t-4", "0.02"),
    ]


async def test_a_transfer_repeated_within_the_window_is_dropped_also_after_a_restart(
    kafka: str, topics: Topics
) -> None:
    chosen = settings(kafka, topics, window=5)
    sent = [transfer("t-1", "a", 1), transfer("t-1", "a", 1), transfer("t-2", "a", 1)]
    await send(kafka, topics, sent, partition=0)
    async with recording(chosen):
        await reached(lambda: has_last(kafka, topics, "t-2"))
    again = [transfer("t-1", "a", 1), transfer("t-2", "a", 1), transfer("t-3", "a", 1)]
    await send(kafka, topics, again, partition=0)
    async with recording(chosen):
        await reached(lambda: has_last(kafka, topics, "t-3"))
    found = await balances(kafka, topics)
    assert [id_ for _, id_, _ in chain(found, "a")] == ["", "t-1", "t-2", "t-3"]


async def test_a_lost_group_offset_applies_nothing_twice(kafka: str, topics: Topics) -> None:
    chosen = settings(kafka, topics)
    await send(kafka, topics, [transfer(f"t-{n}", ACCOUNTS[n % 8], 1) for n in range(40)])
    async with recording(chosen):
        await reached(lambda: has(kafka, topics, 48))
    again = chosen.model_copy(
        update={"recorder_group": chosen.recorder_group + "-anew", "duplicate_window_offsets": 0}
    )
    await send(kafka, topics, [transfer("last", "a", 1)])
    async with recording(again):
        await reached(lambda: has_last(kafka, topics, "last"))
    assert_dense(await balances(kafka, topics), applied=41)


@pytest.mark.parametrize("point", ["recorder_before_commit", "recorder_after_commit"])
async def test_killed_at_its_commit_it_applies_each_transfer_once(
    kafka: str, topics: Topics, tmp_path: Path, point: str
) -> None:
    """Killed twice, at its third transaction each, while transfers come in; then left alone."""
    chosen = settings(kafka, topics)
    for attempt in range(2):
        doomed = recorder(chosen, tmp_path / f"log-{attempt}", crash_at=f"{point}:3")
        doomed.start()
        n = 0
        while doomed.pid:
            await send(kafka, topics, [transfer(f"t-{attempt}-{n}", ACCOUNTS[n % 8], 1)])
            n += 1
        assert doomed.exit_code == -signal.SIGKILL
    sent = Counter(record.id for record in await transfers(kafka, topics))
    await send(kafka, topics, [transfer(f"last-{account}", account, 1) for account in ACCOUNTS])
    async with recording(chosen):
        for account in ACCOUNTS:
            await reached(partial(has_last, kafka, topics, f"last-{account}"))
    assert_dense(await balances(kafka, topics), applied=len(sent) + len(ACCOUNTS))


async def test_partitions_move_while_transfers_come_in(kafka: str, topics: Topics) -> None:
    """A second recorder comes and goes: partitions are kept, lost and got back without a repeat or a gap."""
    chosen, n = settings(kafka, topics), 0
    async with recording(chosen):
        for _ in range(2):
            async with recording(chosen):
                for _ in range(60):
                    await send(kafka, topics, [transfer(f"t-{n}", ACCOUNTS[n % 8], 1)])
                    n += 1
        await send(kafka, topics, [transfer(f"last-{account}", account, 1) for account in ACCOUNTS])
        for account in ACCOUNTS:
            await reached(partial(has_last, kafka, topics, f"last-{account}"))
    assert_dense(await balances(kafka, topics), applied=n + len(ACCOUNTS))


async def test_topics_that_are_missing_or_do_not_match_are_refused(
    kafka: str, make_topics: MakeTopics
) -> None:
    three, two = await make_topics(partitions=3), await make_topics(partitions=2)
    await check_topics(settings(kafka, three))
    with pytest.raises(StartupError, match="must have the same number"):
        await check_topics(settings(kafka, Topics(three.transfers, two.balances, 3)))
    with pytest.raises(StartupError, match="there is no topic nowhere: create it first"):
        await check_topics(settings(kafka, Topics(three.transfers, "nowhere", 3)))


async def test_a_lost_history_is_refused_in_words(kafka: str, topics: Topics, tmp_path: Path) -> None:
    chosen = settings(kafka, topics)
    await send(kafka, topics, [transfer(f"t-{n}", "a", 1) for n in range(5)], partition=0)
    async with recording(chosen):
        await reached(lambda: has(kafka, topics, 6))
    await send(kafka, topics, [transfer(f"more-{n}", "a", 1) for n in range(5)], partition=0)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_records({TopicPartition(topics.transfers, 0): RecordsToDelete(before_offset=8)})
    await admin.close()
    refused = recorder(chosen, tmp_path / "log")
    refused.start()
    with pytest.raises(StackError, match=r"failed with 2: .*history was lost"):
        refused.finish(30)
