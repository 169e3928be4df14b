"""An operator's decisions about what a recorder has halted or rejected."""

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.operator import recorder_actions
from livebalance.readmodel.operator.recorder_actions import RejectedTransfer
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.producer import OutgoingRecord, create_producer, send_all, stop_producer
from livebalance.wire.identity import Lane, Offset

_FAILURE = "the partition was not continued"
_KAFKA_TIMEOUT_SECONDS = 4.0  # shorter than that of Postgres, whose transaction waits for it


async def continue_partition(lane: Lane, from_first: bool, why: str) -> str:
    """Lets a halted partition continue, and returns why it was halted. Raises UserError."""
    start = await _first_offset(lane) if from_first else None
    async with operator_connection(_FAILURE) as connection, connection.transaction():
        halted = await recorder_actions.lock_halted(connection, lane)
        if halted is None:
            raise UserError(f"{_FAILURE}: partition {lane} of the recorder is not halted, or does not exist")
        await recorder_actions.continue_partition(connection, lane, halted, start, why)
    return halted.halted_why


async def _first_offset(lane: Lane) -> Offset:
    settings = addresses.kafka()
    partition = TopicPartition(settings.transfers_topic, lane)
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
            await consumer.start()
            return Offset((await consumer.beginning_offsets([partition]))[partition])
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        raise _kafka_error(_FAILURE, settings, cause) from cause
    finally:
        await consumer.stop()


async def send_again(transfers: Sequence[RejectedTransfer]) -> None:
    """Sends rejected transfers to their topic again, with their bytes.

    If the caller cannot mark them as sent afterwards, a repetition sends them twice. Recorder and projector
    ignore the second record, because it has the same transfer id and content.

    Raises:
        UserError: Kafka is unavailable, refuses a record, or aiokafka cannot send the name of a header; or a
            record is a balance, which would be older than the balances after it.
    """
    settings = addresses.kafka()
    for transfer in transfers:
        if transfer.topic != settings.transfers_topic:
            raise UserError(f"nothing is replayed: record {transfer.id} is no transfer")
    _check_header_names(transfers)
    producer = create_producer(settings.broker, "operator", None)
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
            await producer.start()
            await send_all(producer, map(_record, transfers))
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        raise _kafka_error("nothing is replayed", settings, cause) from cause
    finally:
        await stop_producer(producer)


def _check_header_names(transfers: Sequence[RejectedTransfer]) -> None:
    for transfer in transfers:
        for name, _ in transfer.headers:
            try:
                name.decode()
            except UnicodeDecodeError as cause:
                reason = f"record {transfer.id} has a header whose name is not UTF-8"
                raise UserError(f"nothing is replayed: {reason}") from cause


def _record(transfer: RejectedTransfer) -> OutgoingRecord:
    return OutgoingRecord(transfer.topic, transfer.key, transfer.value, transfer.partition, transfer.headers)


def _kafka_error(failure: str, settings: ServiceSettings, cause: Exception) -> UserError:
    return UserError(f"{failure}: {settings.kafka}: {str(cause) or type(cause).__name__}")
