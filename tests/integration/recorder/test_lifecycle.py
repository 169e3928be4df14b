"""The recorder writes openings to the lifecycle topic, and skips transfers that an erasure covers."""

import signal
from functools import partial
from pathlib import Path

from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.lifecycle import ERASURE, Bound, Erased, Opened, encode_erasure_header
from livebalance.wire.kafka.raw_record import Rejected, decode_lifecycle
from livebalance.wire.money import Money
from tests.integration.recorder.recorder_process import recorder_process, running_recorder, settings
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


async def openings(kafka: str, topics: Topics) -> list[tuple[int, Opened | Erased | Rejected]]:
    records = await read_records(kafka, topics.lifecycle, topics.partitions)
    return [(record.partition, decode_lifecycle(record)) for record in records]


async def versions(kafka: str, topics: Topics, account: str) -> list[tuple[int, str, str]]:
    balances = [written.balance for written in await read_balances(kafka, topics)]
    return [
        (balance.version, balance.transfer_id, str(balance.amount))
        for balance in balances
        if balance.account == account
    ]


async def test_opening_is_written_in_the_transaction_of_its_balance(
    kafka: str, topics: Topics, database: Database, tmp_path: Path
) -> None:
    recorder_settings = settings(kafka, topics, database)
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=2)
    doomed = recorder_process(recorder_settings, tmp_path / "log", failpoint="recorder_before_commit:1")
    doomed.start()
    await wait_until(partial(_has_ended, doomed))
    assert doomed.exit_code == -signal.SIGKILL
    async with running_recorder(recorder_settings):  # its claim aborts the transaction
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    assert await openings(kafka, topics) == [(2, Opened(AccountId("a"), Money(0, 2)))]
    assert await versions(kafka, topics, "a") == [(0, "", "0.00"), (1, "t-0", "0.01")]


async def _has_ended(process: ChildProcess) -> bool:
    return not process.pid


async def test_recorder_without_a_lifecycle_topic_writes_balances_only(
    kafka: str, topics: Topics, database: Database
) -> None:
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)])
    async with running_recorder(settings(kafka, topics, database, lifecycle_topic="not-there")):
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    assert await openings(kafka, topics) == []


async def test_transfers_that_an_erasure_covers_do_not_open_the_account_again(
    kafka: str, topics: Topics, database: Database
) -> None:
    recorder_settings = settings(kafka, topics, database)
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
    await send_transfers(kafka, topics, [transfer("t-1", "a", 10)], partition=0)  # not recorded yet
    identities = await read_topic_identities(Broker(kafka), [topics.transfers])
    topic_id = identities[topics.transfers].id
    assert topic_id is not None
    header = [(ERASURE.decode(), encode_erasure_header(Bound(topic_id, Offset(2))))]
    async with plain_producer(kafka) as producer:
        await producer.send_and_wait(topics.balances, None, AccountId("a").encode(), 0, headers=header)
    await send_transfers(kafka, topics, [transfer("t-2", "a", 100)], partition=0)
    async with running_recorder(recorder_settings):
        await wait_until(partial(has_transfers, kafka, topics, "t-2"))
    assert await versions(kafka, topics, "a") == [
        (0, "", "0.00"),
        (1, "t-0", "0.01"),
        (0, "", "0.00"),
        (1, "t-2", "1.00"),
    ]
