"""`livebalance lane`: an operator's decisions about a lane."""

import asyncio
import contextlib
import json
from typing import Annotated, Literal

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError, UnknownTopicOrPartitionError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.projection import recorder, skipping
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.operator import projection_actions
from livebalance.readmodel.operator.projection_actions import ContinuedLane, LaneOffsets
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.wire.identity import Lane, Offset

_FAILURE = "the lane was not continued"
_KAFKA_TIMEOUT_SECONDS = 10.0
_MOVE_SECONDS = 600.0  # to mark all accounts of a lane

Of = Annotated[
    Literal["projector", "recorder"],
    typer.Option(help="Service that has halted the lane.", show_default=True),
]

app = typer.Typer(
    help="List lanes (a partition of both topics), and decide about a halted lane.", no_args_is_help=True
)


@app.callback()
def lane() -> None:
    """List lanes (a partition of both topics), and decide about a halted lane."""


@app.command("continue")
def continue_lane(
    number: Annotated[int, typer.Argument(metavar="LANE", min=0, help="Number of the lane.")],
    reason: Reason,
    of: Of = "projector",
    from_first: Annotated[
        bool,
        typer.Option(
            "--from-first",
            help="Read from the first records of the topics that exist now, in a new epoch. "
            "By default the lane continues at its offsets. The recorder reads its topic of transfers, and "
            "begins no epoch.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Let a halted lane continue. Remove the cause first, or the lane halts again.

    Transfers that are listed already are not listed again, even if their records are read again. A recorder
    accepts its topics and balances as they are, and applies no transfer that a balance of them includes.
    """
    if of == "recorder":
        halted_why = asyncio.run(recorder.continue_partition(Lane(number), from_first, reason))
        if as_json:
            typer.echo(json.dumps({"lane": number, "halted_why": halted_why, "epoch": None}))
        else:
            typer.echo(f"Lane {number} of the recorder continues. It was halted: {halted_why}.")
        return
    continued = asyncio.run(_continue(Lane(number), from_first, reason))
    if as_json:
        result = {"lane": number, "halted_why": continued.halted_why, "epoch": continued.epoch}
        typer.echo(json.dumps(result))
        return
    epoch = (
        f" The epoch is {continued.epoch} now: every client will get a snapshot." if continued.epoch else ""
    )
    typer.echo(f"Lane {number} continues. It was halted: {continued.halted_why}.{epoch}")


@app.command()
def skip(  # noqa: PLR0917 - each parameter is an option of the command
    number: Annotated[int, typer.Argument(metavar="LANE", min=0, max=2**31 - 1, help="Number of the lane.")],
    topic: Annotated[str, typer.Option(help="Name of the record's topic.")],
    reason: Reason,
    of: Of = "projector",
    offset: Annotated[
        int | None,
        typer.Option(
            min=0, help="Offset of a balance that the recorder cannot read. The reason of the halt names it."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Move a halted lane past the next record of a topic, and keep the record in the quarantine.

    The lane stays halted: let it continue afterwards. `livebalance quarantine replay` applies the record
    later, if it can be applied.
    """
    if of == "recorder":
        of_balance = None if offset is None else Offset(offset)
        skipped = asyncio.run(skipping.skip_for_recorder(Lane(number), topic, of_balance, reason))
    elif offset is not None:
        raise UserError("no record was skipped: only the recorder needs --offset")
    else:
        skipped = asyncio.run(skipping.skip_record(Lane(number), topic, reason))
    if as_json:
        typer.echo(json.dumps({"lane": number, "topic": topic, "offset": skipped.source_offset}))
        return
    halted = f"Lane {number} of the recorder" if of == "recorder" else f"Lane {number}"
    typer.echo(f"Skipped {topic}/{number}@{skipped.source_offset}. {halted} is still halted.")


async def _continue(number: Lane, from_first: bool, reason: str) -> ContinuedLane:
    """Raises UserError."""
    start = await _first_offsets(number) if from_first else None
    if start is not None:
        async with operator_connection(_FAILURE, _MOVE_SECONDS) as connection:
            await projection_actions.move_accounts(connection, number, start.transfers_topic_id)
    async with operator_connection(_FAILURE) as connection:
        continued = await projection_actions.continue_lane(connection, number, start, reason)
    if continued is None:
        raise UserError(f"{_FAILURE}: lane {number} is not halted, or does not exist")
    return continued


async def _first_offsets(number: Lane) -> LaneOffsets:
    settings = addresses.kafka()
    names = settings.transfers_topic, settings.balances_topic, settings.lifecycle_topic
    partitions = [TopicPartition(name, number) for name in names]
    consumer = AIOKafkaConsumer(**settings.broker.options, enable_auto_commit=False)
    try:
        async with asyncio.timeout(_KAFKA_TIMEOUT_SECONDS):
            topics = await read_topic_identities(settings.broker, names[:2])
            with contextlib.suppress(UnknownTopicOrPartitionError, TopicAuthorizationFailedError):
                topics |= await read_topic_identities(settings.broker, names[2:])
            partitions = partitions[: len(topics)]
            await consumer.start()
            offsets = await consumer.beginning_offsets(partitions)
    except (KafkaError, OSError) as cause:  # includes TimeoutError
        raise UserError(f"{_FAILURE}: {settings.kafka}: {str(cause) or type(cause).__name__}") from cause
    finally:
        await consumer.stop()
    transfers, balances, *lifecycle = partitions
    starts = LaneOffsets(
        Offset(offsets[transfers]),
        Offset(offsets[balances]),
        topics[transfers.topic].id,
        topics[balances.topic].id,
    )
    for partition in lifecycle:
        first, id_ = Offset(offsets[partition]), topics[partition.topic].id
        starts = starts._replace(lifecycle=first, lifecycle_topic_id=id_)
    return starts
