"""A null on the topic of balances erases the account in the memory of a running recorder too."""

from functools import partial

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import (
    has_transfers,
    open_account,
    plain_producer,
    read_balances,
    send_transfers,
    transfer,
    wait_until,
)
from tests.servers.database import Database

History = list[tuple[int, str, str]]


async def erase(kafka: str, topics: Topics, account: str) -> None:
    async with plain_producer(kafka) as producer:
        await producer.send_and_wait(topics.balances, None, account.encode(), 0)


async def history(kafka: str, topics: Topics, account: str) -> History:
    """Returns version, amount and client of each balance of the account."""
    balances = [written.balance for written in await read_balances(kafka, topics)]
    return [
        (balance.version, str(balance.amount), balance.client_id)
        for balance in balances
        if balance.account == account
    ]


def opening(account: str, client: str, unscaled: int) -> Balance:
    return Balance(AccountId(account), client, TransferId(""), Money(unscaled, 2), 0)


async def test_transfer_after_an_erasure_brings_neither_balance_nor_client_back(
    kafka: str, topics: Topics, database: Database
) -> None:
    await open_account(kafka, topics, opening("a", "Ada Lovelace", 10_000), 0)
    async with running_recorder(settings(kafka, topics, database)):
        await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
        for number in range(1, 6):
            await erase(kafka, topics, "a")
            await send_transfers(kafka, topics, [transfer(f"t-{number}", "a", 5)], partition=0)
            await wait_until(partial(has_transfers, kafka, topics, f"t-{number}"))
    assert await history(kafka, topics, "a") == [
        (0, "100.00", "Ada Lovelace"),
        (1, "100.01", "Ada Lovelace"),
        *[(0, "0.00", ""), (1, "0.05", "")] * 5,
    ]


async def test_account_opened_again_after_an_erasure_has_its_new_balance(
    kafka: str, topics: Topics, database: Database
) -> None:
    async with running_recorder(settings(kafka, topics, database)):
        await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-0"))
        await erase(kafka, topics, "a")
        await open_account(kafka, topics, opening("a", "new", 700), 0)
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)], partition=0)
        await wait_until(partial(has_transfers, kafka, topics, "t-1"))
    assert (await history(kafka, topics, "a"))[-1] == (1, "7.01", "new")


async def test_erasure_in_an_aborted_transaction_erases_nothing(
    kafka: str, topics: Topics, database: Database
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"eraser-{topics.balances}")
    await producer.start()
    try:
        async with running_recorder(settings(kafka, topics, database)):
            await send_transfers(kafka, topics, [transfer("t-0", "a", 1)], partition=0)
            await wait_until(partial(has_transfers, kafka, topics, "t-0"))
            await producer.begin_transaction()
            await producer.send_and_wait(topics.balances, None, b"a", 0)
            # The open transaction holds the recorder up neither before nor after its own transaction.
            for id_ in ("t-1", "t-2"):
                await send_transfers(kafka, topics, [transfer(id_, "a", 1)], partition=0)
                await wait_until(partial(is_committed, kafka, topics, int(id_[-1]) + 1))
            await producer.abort_transaction()
            await wait_until(partial(has_transfers, kafka, topics, "t-2"))
    finally:
        await producer.stop()
    assert [version for version, *_ in await history(kafka, topics, "a")] == [0, 1, 2, 3]


async def is_committed(kafka: str, topics: Topics, offset: int) -> bool:
    """Returns whether the recorders' group is at this offset of partition 0."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        offsets = await admin.list_consumer_group_offsets(f"recorder-of-{topics.transfers}")
    finally:
        await admin.close()
    return bool(offsets[TopicPartition(topics.transfers, 0)].offset == offset)
