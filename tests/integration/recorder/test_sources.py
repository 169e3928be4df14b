"""A balance counts as made from this topic's transfers only if its header says so."""

from functools import partial

import pytest

from livebalance.runtime.schema.file_registry import BALANCE_ID
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.record import Balance
from livebalance.wire.kafka.source import SOURCE, SOURCE_OFFSET, Source
from livebalance.wire.money import Money
from tests.conftest import MakeTopics
from tests.integration.recorder.halted_partitions import (
    add_partitions,
    continue_partition,
    halted,
    query,
    recreate,
    wait_until_halted,
)
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import (
    has_transfers,
    plain_producer,
    read_balances,
    read_records,
    send_transfers,
    transfer,
    wait_until,
)
from tests.servers.database import Database

OTHER = Source("6f0c2b1e-52d1-4a7e-9a35-0c1d2e3f4a5b", Lane(0), Offset(7), bytes(16))


async def send_balance(kafka: str, topics: Topics, headers: Headers, unscaled: int = 500) -> None:
    """Writes version 3 of account a, with these headers, to partition 0."""
    balance = Balance(AccountId("a"), "client-1", TransferId("before"), Money(unscaled, 2), 3)
    async with plain_producer(kafka) as producer:
        value = avro.encode_balance(balance, BALANCE_ID)
        names = [(name.decode(), header) for name, header in headers]
        await producer.send_and_wait(topics.balances, value, b"a", 0, headers=names)


async def amounts(kafka: str, topics: Topics) -> list[tuple[int, str]]:
    balances = [written.balance for written in await read_balances(kafka, topics)]
    return [(balance.version, str(balance.amount)) for balance in balances if balance.account == "a"]


async def test_balance_names_topic_partition_offset_and_fingerprint_of_its_transfer(
    kafka: str, topics: Topics, database: Database
) -> None:
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1), transfer("t-1", "a", 1)], partition=2)
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    [row] = await query(database, "select * from recorder_lane where lane = 2")
    headers = [dict(record.headers) for record in await read_records(kafka, topics.balances, 3)]
    assert [each[SOURCE_OFFSET] for each in headers] == [b"0", b"0", b"1"]
    assert [(each[SOURCE] or b"").partition(b" ")[0].decode() for each in headers] == [
        f"{row['transfers_id']}/2@{offset}" for offset in (0, 0, 1)
    ]
    assert len({each[SOURCE] for each in headers}) == 2


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(SOURCE, None)],
        [(SOURCE_OFFSET, None)],
        [(SOURCE, None), (SOURCE_OFFSET, None)],
        [(SOURCE, b"\xff"), (SOURCE_OFFSET, "²".encode())],
        [(SOURCE_OFFSET, b"0")],
    ],
    ids=str,
)
async def test_balance_with_any_headers_is_restored(
    kafka: str, topics: Topics, database: Database, headers: Headers
) -> None:
    await send_transfers(kafka, topics, [transfer("t-0", "z", 1), transfer("t-1", "a", 1)], partition=0)
    await send_balance(kafka, topics, headers)
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    assert await amounts(kafka, topics) == [(3, "5.00"), (4, "5.01")]


async def test_transfers_of_a_recreated_topic_are_applied_once_an_operator_says_so(
    kafka: str, topics: Topics, database: Database
) -> None:
    """The balances stay. Before, each transfer at an offset that they named counted as known."""
    recorder_settings = settings(kafka, topics, database)
    await send_transfers(kafka, topics, [transfer(f"t-{n}", "a", 1) for n in range(5)], partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(partial(has_transfers, kafka, topics, "t-4"))
    await recreate(kafka, topics.transfers, topics.partitions)
    await send_transfers(kafka, topics, [transfer(f"new-{n}", "a", 1) for n in range(3)], partition=0)
    reason = f"{topics.transfers} has another topic id now: the topic was recreated"
    async with running_recorder(recorder_settings):
        await wait_until_halted(database, dict.fromkeys(range(3), reason))
        assert (await amounts(kafka, topics))[-1] == (5, "0.05")
        await continue_partition(kafka, topics, database, 0, "--from-first")
        await wait_until(partial(has_transfers, kafka, topics, "new-2"))
    assert (await amounts(kafka, topics))[-4:] == [(5, "0.05"), (6, "0.06"), (7, "0.07"), (8, "0.08")]
    async with running_recorder(recorder_settings):  # what was accepted stays accepted
        await send_transfers(kafka, topics, [transfer("last", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "last"))
        assert (await halted(database)).keys() == {1, 2}
    assert (await amounts(kafka, topics))[-1] == (9, "0.09")


async def test_balance_from_another_topic_halts_until_an_operator_accepts_it(
    kafka: str, topics: Topics, database: Database
) -> None:
    """Balances were mirrored. Their offsets say nothing about the transfers here."""
    await send_balance(kafka, topics, [(SOURCE, OTHER.encode()), (SOURCE_OFFSET, b"7")])
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    reason = f"a balance includes {OTHER.topic_id}/0@7, which is not in {topics.transfers}/0"
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until_halted(database, {0: reason})
        await send_transfers(kafka, topics, [transfer("other", "b", 1)], partition=1)
        await wait_until(partial(has_transfers, kafka, topics, "other"))
        await continue_partition(kafka, topics, database, 0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    async with running_recorder(settings(kafka, topics, database)):
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    assert await amounts(kafka, topics) == [(3, "5.00"), (4, "5.01"), (5, "5.02")]


async def test_balance_that_includes_a_transfer_beyond_the_end_halts(
    kafka: str, topics: Topics, database: Database
) -> None:
    await send_balance(kafka, topics, [(SOURCE_OFFSET, b"7")])
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    reason = f"a balance includes offset 7 but {topics.transfers} ends at 1: records were lost"
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until_halted(database, {0: reason})
    assert await amounts(kafka, topics) == [(3, "5.00")]


async def test_balance_of_another_record_at_its_offset_halts(
    kafka: str, topics: Topics, database: Database
) -> None:
    recorder_settings = settings(kafka, topics, database)
    async with running_recorder(recorder_settings):
        await send_transfers(kafka, topics, [transfer("t-0", "b", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    [row] = await query(database, "select transfers_id from recorder_lane where lane = 0")
    source = Source(row["transfers_id"], Lane(0), Offset(0), bytes(16))
    await send_balance(kafka, topics, [(SOURCE, source.encode())])
    async with running_recorder(recorder_settings):
        await wait_until_halted(
            database, {0: f"{topics.transfers} holds another record at 0 now: the topic was recreated"}
        )


async def test_partitions_that_were_added_before_the_first_claim_halt(
    kafka: str, topics: Topics, database: Database
) -> None:
    """The projection was built from fewer partitions than a recorder of this release finds."""
    await query(database, "insert into projection values (true, 'e', 's', 't', 2)")
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    reason = "the topics have 3 partitions, the recorder began with 2"
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until_halted(database, dict.fromkeys(range(3), reason))
    assert await amounts(kafka, topics) == []


async def test_added_partitions_halt_and_reopen_no_account(
    kafka: str, make_topics: MakeTopics, database: Database
) -> None:
    topics = await make_topics(partitions=2)
    recorder_settings = settings(kafka, topics, database)
    reason = "the topics have 4 partitions, the recorder began with 2"
    async with running_recorder(recorder_settings):
        await send_transfers(kafka, topics, [transfer("t-0", "a", 500)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
        await add_partitions(kafka, topics, 4)
        await wait_until_halted(database, dict.fromkeys(range(2), reason))
    grown = Topics(topics.transfers, topics.balances, 4)
    await send_transfers(kafka, grown, [transfer("t-1", "a", 1)], partition=2)
    async with running_recorder(recorder_settings):
        await wait_until_halted(database, dict.fromkeys(range(4), reason))
    assert await amounts(kafka, grown) == [(0, "0.00"), (1, "5.00")]
