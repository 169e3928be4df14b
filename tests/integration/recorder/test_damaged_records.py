"""A damaged record halts its partition. The fetcher is made to fail as it does for a damaged batch."""

from functools import partial

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CorruptRecordException

from livebalance.runtime.kafka import raw_records
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.reader import read_range
from livebalance.runtime.schema.file_registry import BALANCE_ID
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money
from tests.integration.recorder.halted_partitions import (
    continue_partition,
    halted,
    query,
    run_operator,
    wait_until_halted,
)
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import (
    has_transfers,
    plain_producer,
    read_balances,
    send_transfers,
    transfer,
    wait_until,
)
from tests.servers.database import Database

TRANSFER = b"damaged"
BALANCE = avro.encode_balance(Balance(AccountId("a"), "", TransferId(""), Money(500, 2), 0), BALANCE_ID)


@pytest.fixture
def damaged(monkeypatch: pytest.MonkeyPatch) -> set[bytes]:
    """Lets the fetcher fail at each record with one of these values, until they are removed."""
    values = {TRANSFER, BALANCE}
    convert = raw_records._RawRecords._consumer_record

    def fail_if_damaged(records: raw_records._RawRecords, *arguments: object) -> object:
        record = convert(records, *arguments)
        if record.value in values:
            raise CorruptRecordException
        return record

    monkeypatch.setattr(raw_records._RawRecords, "_consumer_record", fail_if_damaged)
    return values


async def send_damaged(kafka: str, topic: str, value: bytes) -> None:
    async with plain_producer(kafka) as producer:
        await producer.send_and_wait(topic, value, b"a", 0)


@pytest.mark.usefixtures("damaged")
async def test_damaged_transfer_halts_its_partition_until_it_is_skipped(
    kafka: str, topics: Topics, database: Database
) -> None:
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    await send_damaged(kafka, topics.transfers, TRANSFER)
    await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
    async with running_recorder(settings(kafka, topics, database)):
        reason = f"{topics.transfers}/0 cannot be read at 1: CorruptRecordException"
        await wait_until_halted(database, {0: reason})
        assert await has_transfers(kafka, topics, "t-0")
        await continue_partition(kafka, topics, database, 0)
        await wait_until_halted(database, {0: reason})
        command = ("lane", "skip", "0", "--of", "recorder", "--topic", topics.transfers, "--reason", "lost")
        assert (await run_operator(kafka, topics, database, *command)).code == 0
        await continue_partition(kafka, topics, database, 0)
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    async with running_recorder(settings(kafka, topics, database)):  # its window has the damaged transfer
        await send_transfers(kafka, topics, [transfer("t-2", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-2"))
    assert await halted(database) == {}
    [row] = await query(database, "select source_offset, state, rejected_by from quarantine")
    assert tuple(row) == (1, "skipped", "recorder")


async def test_damaged_balance_halts_its_partition_until_it_is_repaired(
    kafka: str, topics: Topics, database: Database, damaged: set[bytes]
) -> None:
    await send_damaged(kafka, topics.balances, BALANCE)
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    async with running_recorder(settings(kafka, topics, database)):
        await wait_until_halted(
            database, {0: f"{topics.balances}/0 cannot be read at 0: CorruptRecordException"}
        )
        damaged.clear()
        assert len(await read_balances(kafka, topics)) == 1
        await continue_partition(kafka, topics, database, 0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    amounts = [str(written.balance.amount) for written in await read_balances(kafka, topics)]
    assert amounts == ["5.00", "5.01"]
    assert await halted(database) == {}


@pytest.mark.usefixtures("damaged")
async def test_damaged_balance_halts_its_partition_until_it_is_skipped(
    kafka: str, topics: Topics, database: Database
) -> None:
    await send_damaged(kafka, topics.balances, BALANCE)
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    skip = ("lane", "skip", "0", "--of", "recorder", "--topic", topics.balances, "--reason", "lost")
    async with running_recorder(settings(kafka, topics, database)):
        reason = f"{topics.balances}/0 cannot be read at 0: CorruptRecordException"
        await wait_until_halted(database, {0: reason})
        result = await run_operator(kafka, topics, database, *skip)
        assert (result.code, "the --offset of the balance" in result.err) == (1, True)
        result = await run_operator(kafka, topics, database, *skip, "--offset", "7")
        assert (result.code, f"{topics.balances} has no record at 7" in result.err) == (1, True)
        result = await run_operator(kafka, topics, database, *skip, "--offset", "0")
        skipped = f"Skipped {topics.balances}/0@0. Lane 0 of the recorder is still halted.\n"
        assert (result.code, result.out) == (0, skipped)
        await continue_partition(kafka, topics, database, 0)
        await wait_until(partial(has_balances, kafka, topics, 2))
    assert await halted(database) == {}
    [row] = await query(database, "select topic, source_offset, state, rejected_by from quarantine")
    assert tuple(row) == (topics.balances, 0, "skipped", "recorder")
    result = await run_operator(kafka, topics, database, "quarantine", "replay", "1", "--reason", "mistake")
    assert (result.code, "record 1 is no transfer" in result.err) == (1, True)


async def has_balances(kafka: str, topics: Topics, count: int) -> bool:
    """Returns whether the partition has this many balances behind the damaged balance."""
    records: list[RawRecord] = []
    partition = TopicPartition(topics.balances, 0)
    await read_range(Broker(kafka), partition, records.append, 1, lost=[0])
    return len(records) == count
