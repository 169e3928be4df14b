"""Writes records of accounts to Kafka that the feed would not write: old, large, or contradictory."""

import time
from collections.abc import Iterable

from livebalance.runtime.schema.file_registry import BALANCE_ID, TRANSFER_ID
from livebalance.stack.cluster import Cluster
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka import avro
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.integration.projector.pipeline import kafka_producer


def transfer(account: str, id_: str, unscaled: int, at: Millis | None = None) -> Transfer:
    """Returns a transfer in cents at a time: now, unless it is named."""
    return Transfer(TransferId(id_), AccountId(account), Money(unscaled, 2), at or int(time.time() * 1000))


def balance(account: str, version: int, id_: str, unscaled: int) -> Balance:
    """Returns a balance in cents."""
    return Balance(AccountId(account), "client", TransferId(id_), Money(unscaled, 2), version)


async def write(cluster: Cluster, records: Iterable[Transfer | Balance]) -> None:
    """Writes records in this order, each acknowledged. The recorder adds the balances of new transfers."""
    topics = cluster.plan.topics
    async with kafka_producer(cluster.kafka) as producer:
        for record in records:
            is_transfer = isinstance(record, Transfer)
            value = (
                avro.encode_transfer(record, TRANSFER_ID)
                if isinstance(record, Transfer)
                else avro.encode_balance(record, BALANCE_ID)
            )
            topic = topics.transfers if is_transfer else topics.balances
            await producer.send_and_wait(topic, value, record.account.encode())
