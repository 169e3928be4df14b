"""`livebalance lane`: an operator's decisions about a lane."""

import asyncio
import json
from typing import Annotated

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel import operator_actions
from livebalance.readmodel.operator_actions import ContinuedLane, LaneOffsets
from livebalance.wire.identity import Lane, Offset

_FAILURE = "the lane was not continued"
_KAFKA_TIMEOUT_SECONDS = 10.0

app = typer.Typer(help="Let a halted lane (one partition of both topics) continue.", no_args_is_help=True)


@app.callback()
def lane() -> None:
    """Let a halted lane (one partition of both topics) continue."""


@app.command("continue")
def continue_lane(
    number: Annotated[int, typer.Argument(metavar="LANE", min=0, help="Number of the lane.")],
    reason: Reason,
    from_first: Annotated[
        bool,
        typer.Option(
            "--from-first",
            help="Read from the first records that the topics have now, in a new epoch. "
            "By default the lane continues at its offsets.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a halted lane continue. Remove the cause first, or the lane halts again.

    Transfers that are listed already are not listed again, even if their records are read again.
    """
    continued = asyncio.run(_continue(Lane(number), from_first, reason))
    if as_json:
        result = {"lane": number, "halted_why": continued.halted_why, "epoch": continued.epoch}
        typer.echo(json.dumps(result))
        return
    epoch = (
        f" The epoch is {continued.epoch} now: every client will get a snapshot." if continued.epoch else ""
    )
    typer.echo(f"Lane {number} continues. It was halted: {continued.halted_why}.{epoch}")


async def _continue(number: Lane, from_first: bool, reason: str) -> ContinuedLane:
    """Raises UserError."""
    start = await _first_offsets(number) if from_first else None
    async with operator_connection(_FAILURE) as connection:
        continued = await operator_actions.continue_lane(connection, number, start, reason)
    if continued is None:
        raise UserError(f"{_FAILURE}: lane {number} is not halted, or does not exist")
    return continued


async def _first_offsets(number: Lane) -> LaneOffsets:
    settings = addresses.kafka()
    partitions = [
        TopicPartition(name, number) for name in (settings.transfers_topic, settings.balances_topic)
    ]
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
            await consumer.start()
            offsets = await consumer.beginning_offsets(partitions)
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        raise UserError(f"{_FAILURE}: {settings.kafka}: {str(cause) or type(cause).__name__}") from cause
    finally:
        await consumer.stop()
    return LaneOffsets(*(Offset(offsets[partition]) for partition in partitions))
