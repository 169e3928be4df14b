"""Moves a halted lane past its next record of a topic, which goes to the quarantine."""

from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.operator import projection_actions, recorder_actions
from livebalance.readmodel.rows import QuarantineRow, quarantine_row
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.kafka.reader import read_next
from livebalance.wire.identity import Lane, Offset

_FAILURE = "no record was skipped"
_KAFKA_TIMEOUT_SECONDS = 10.0


async def skip_record(number: Lane, topic: str, why: str) -> QuarantineRow:
    """Moves a lane of the projector past a record, and returns its row. Raises UserError."""
    settings = addresses.kafka()
    fields = {
        settings.transfers_topic: "transfers",
        settings.balances_topic: "balances",
        settings.lifecycle_topic: "lifecycle",
    }
    if topic not in fields:
        raise UserError(f"{_FAILURE}: the topics are {', '.join(fields)}")
    async with operator_connection(_FAILURE) as connection:
        offsets = await projection_actions.halted_offsets(connection, number)
    if offsets is None:
        raise UserError(f"{_FAILURE}: lane {number} is not halted, or does not exist")
    offset: Offset = getattr(offsets, fields[topic])
    row = await _next_record(settings, TopicPartition(topic, number), offset)
    moved: Any = {fields[topic]: Offset(row.source_offset + 1)}
    becomes = offsets._replace(**moved)
    async with operator_connection(_FAILURE) as connection:
        if not await projection_actions.skip_record(connection, row, offsets, becomes, why):
            raise UserError(f"{_FAILURE}: lane {number} is no longer halted at the same offsets")
    return row


async def skip_for_recorder(number: Lane, topic: str, offset: Offset | None, why: str) -> QuarantineRow:
    """Moves a partition of the recorder past a record, and returns its row. Raises UserError.

    `offset` is that of a balance. Which transfer comes next is known.
    """
    settings = addresses.kafka()
    if topic == settings.balances_topic:
        return await _skip_balance(settings, TopicPartition(topic, number), offset, why)
    if topic != settings.transfers_topic:
        topics = f"{settings.transfers_topic} and {settings.balances_topic}"
        raise UserError(f"{_FAILURE}: the topics are {topics}")
    if offset is not None:
        raise UserError(f"{_FAILURE}: only the next transfer can be skipped; leave out --offset")
    return await _skip_transfer(settings, number, topic, why)


async def _skip_balance(
    settings: ServiceSettings, partition: TopicPartition, offset: Offset | None, why: str
) -> QuarantineRow:
    if offset is None:
        raise UserError(f"{_FAILURE}: give the --offset of the balance, which the reason of the halt names")
    row = await _next_record(settings, partition, offset)
    if row.source_offset != offset:
        raise UserError(f"{_FAILURE}: {partition.topic} has no record at {offset}")
    async with operator_connection(_FAILURE) as connection:
        if not await recorder_actions.skip_balance(connection, row, why):
            raise UserError(_not_halted(Lane(partition.partition)))
    return row


async def _skip_transfer(settings: ServiceSettings, number: Lane, topic: str, why: str) -> QuarantineRow:
    settings = addresses.kafka()
    async with operator_connection(_FAILURE) as connection, connection.transaction():
        halted = await recorder_actions.lock_halted(connection, number)
    if halted is None:
        raise UserError(_not_halted(number))
    if halted.next_offset is None:
        raise UserError(f"{_FAILURE}: the offset of the next transfer is not known")
    row = await _next_record(settings, TopicPartition(topic, number), halted.next_offset)
    async with operator_connection(_FAILURE) as connection:
        if not await recorder_actions.skip_transfer(connection, row, halted.next_offset, why):
            raise UserError(f"{_FAILURE}: partition {number} is no longer halted at the same offset")
    return row


def _not_halted(number: Lane) -> str:
    return f"{_FAILURE}: partition {number} of the recorder is not halted, or does not exist"


async def _next_record(settings: ServiceSettings, partition: TopicPartition, offset: Offset) -> QuarantineRow:
    """Returns the next record of a partition as a row of the quarantine. Raises UserError."""
    try:
        raw = await read_next(settings.broker, partition, offset, _KAFKA_TIMEOUT_SECONDS)
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        raise UserError(f"{_FAILURE}: {settings.kafka}: {str(cause) or type(cause).__name__}") from cause
    if raw is None:
        raise UserError(f"{_FAILURE}: {partition.topic} has no record at {offset} or after it")
    reason = "skipped by an operator" + (f"; cannot be read: {raw.unreadable}" if raw.unreadable else "")
    return quarantine_row(raw, reason, "skipped")
