"""`livebalance erase`: erases an account.

It writes a null to the topic of balances, and a record that nothing compacts (decision 23).
"""

import asyncio
import json
from typing import Annotated, NamedTuple
from uuid import UUID

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.operator.projection_actions import account_lane, record_erasure
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.producer import create_producer, stop_producer
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Lane, Offset, parse_account_id
from livebalance.wire.kafka.lifecycle import ERASURE, Bound, Erased, encode_erasure_header, encode_lifecycle

_FAILURE = "nothing was erased"
_NO_ID = UUID(int=0)  # brokers before Kafka 2.8 give no ids
_KAFKA_TIMEOUT_SECONDS = 4.0  # shorter than that of Postgres, whose transaction waits for it


class ErasedAccount(NamedTuple):
    """The account, its partition, and the offset below which its transfers are erased."""

    account: AccountId
    lane: Lane
    transfers_before: Offset


def erase(
    account: Annotated[str, typer.Argument(help="Id of the account.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Erase an account: its balance, and all its transfers that Kafka has now. This cannot be undone.

    Later transfers open the account again, at 0. A rebuild erases the account too.
    """
    erased = asyncio.run(erase_account(account, reason))
    if as_json:
        typer.echo(json.dumps(erased._asdict()))
        return
    source = f"partition {erased.lane}, before offset {erased.transfers_before}"
    typer.echo(f"Account {erased.account} was erased: its balance, and its transfers in {source}.")


async def erase_account(text: str, why: str) -> ErasedAccount:
    """Erases the balance of an account, and all its transfers that the topic has now.

    Raises:
        UserError: there is no such account or no lifecycle topic, or Kafka or Postgres failed.
    """
    try:
        account = parse_account_id(text)
    except DecodeError:
        raise UserError("ACCOUNT must be 1 to 64 of A-Z a-z 0-9 . _ -") from None
    settings = addresses.kafka()
    async with operator_connection(_FAILURE) as connection, connection.transaction():
        lane = await account_lane(connection, account)
        if lane is None:
            raise UserError(f"{_FAILURE}: the projection has no account {account}")
        await record_erasure(connection, lane, account, why)
        before = await _write(settings, account, lane)
    return ErasedAccount(account, lane, before)


async def _write(settings: ServiceSettings, account: AccountId, lane: Lane) -> Offset:
    """Writes both records, and returns the end of the transfers, with those of open transactions."""
    producer = create_producer(settings.broker, "operator", f"erase-{settings.transfers_topic}")
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    names = settings.transfers_topic, settings.balances_topic, settings.lifecycle_topic
    partition = TopicPartition(settings.transfers_topic, lane)
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
            topics = await read_topic_identities(settings.broker, names)
            await producer.start()
            await consumer.start()
            before = Offset((await consumer.end_offsets([partition]))[partition])
            transfers_id, balances_id, _ = (topics[name].id or _NO_ID for name in names)
            transfers = Bound(transfers_id, before)
            header = [(ERASURE.decode(), encode_erasure_header(transfers))]
            await producer.begin_transaction()
            null = await producer.send_and_wait(names[1], None, account.encode(), lane, headers=header)
            erased = Erased(account, transfers, Bound(balances_id, Offset(null.offset)))
            await producer.send_and_wait(names[2], encode_lifecycle(erased), account.encode(), lane)
            await producer.commit_transaction()
    except UnknownTopicOrPartitionError as cause:
        raise UserError(f"{_FAILURE}: there is no topic {cause.args[0]}") from cause
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        raise UserError(f"{_FAILURE}: {settings.kafka}: {str(cause) or type(cause).__name__}") from cause
    finally:
        await consumer.stop()
        await stop_producer(producer)
    return before
