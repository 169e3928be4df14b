"""Writes many accounts to the topic of balances, quickly, in an order that is not that of their ids."""

import hashlib

from aiokafka import AIOKafkaProducer

from livebalance.runtime.schema.file_registry import BALANCE_ID
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money

_BATCH_BYTES = 900_000


def account_id(number: int) -> AccountId:
    return AccountId("acc-" + hashlib.blake2b(str(number).encode(), digest_size=8).hexdigest())


def _value(number: int) -> bytes:
    balance = Balance(
        account_id(number), f"client-{number:09}", TransferId(f"transfer-{number:09}"), Money(number, 2), 1
    )
    return avro.encode_balance(balance, BALANCE_ID)


async def write_balances(kafka: str, topics: Topics, partition: int, numbers: range) -> None:
    """Writes a balance for each account number. Its amount is the number in cents."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=_BATCH_BYTES, acks=1)
    await producer.start()
    try:
        batch = producer.create_batch()
        for number in numbers:
            record = {"key": account_id(number).encode(), "value": _value(number), "timestamp": None}
            if batch.append(**record) is None:
                await producer.send_batch(batch, topics.balances, partition=partition)
                batch = producer.create_batch()
                batch.append(**record)
        await (await producer.send_batch(batch, topics.balances, partition=partition))
        await producer.flush()
    finally:
        await producer.stop()
