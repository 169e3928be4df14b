"""`livebalance lane`: what an operator decides about one partition of both topics."""

import asyncio
import json
from typing import Annotated

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.operator_actions import LaneBegin, LaneContinued, go_on
from livebalance.wire.identity import Lane, Offset

_UNDONE = "the lane does not go on"
_KAFKA_WITHIN = 10.0  # seconds

app = typer.Typer(help="One partition of both topics.", no_args_is_help=True)


@app.callback()
def lane() -> None:
    """One partition of both topics."""


@app.command("go-on")
def go_on_(
    number: Annotated[int, typer.Argument(metavar="LANE", min=0, help="Its number.")],
    why: Annotated[str, typer.Option(help="Stands in the table for who reads it later.")],
    from_first: Annotated[
        bool,
        typer.Option(
            "--from-first",
            help="From the first records the topics have now, in a new epoch; else from where it stands.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Let a halted lane go on. Whatever halted it should be over: it halts again if it is not.

    Transfers that are listed already are not listed again, wherever it is read from.
    """
    done = asyncio.run(_gone_on(Lane(number), from_first, why))
    if as_json:
        typer.echo(json.dumps({"lane": number, "was": done.was, "epoch": done.epoch}))
        return
    epoch = f" The epoch is {done.epoch} now: every client will get a snapshot." if done.epoch else ""
    typer.echo(f"Lane {number} goes on. It was halted: {done.was}.{epoch}")


async def _gone_on(number: Lane, from_first: bool, why: str) -> LaneContinued:
    """Raises UserError."""
    begin = await _first(number) if from_first else None
    async with operator_connection(_UNDONE) as connection:
        done = await go_on(connection, number, begin, why)
    if done is None:
        raise UserError(f"{_UNDONE}: there is no halted lane {number}")
    return done


async def _first(number: Lane) -> LaneBegin:
    settings = addresses.kafka()
    sides = [TopicPartition(name, number) for name in (settings.transfers_topic, settings.balances_topic)]
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    try:
        async with asyncio.timeout(_KAFKA_WITHIN):
            await consumer.start()
            first = await consumer.beginning_offsets(sides)
    except (KafkaError, OSError) as cause:  # TimeoutError is one
        raise UserError(f"{_UNDONE}: {settings.kafka}: {str(cause) or type(cause).__name__}") from cause
    finally:
        await consumer.stop()
    return LaneBegin(*(Offset(first[side]) for side in sides))
