"""`livebalance lane list`: the lanes, and the ends of both topics."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson
from livebalance.cli.projection.database import read_projection
from livebalance.cli.projection.lane import app as lane
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.operator.status_rows import LaneStatus, ProjectionStatus, ServerStatus
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.wire.timestamp import Millis, format_rfc3339

_KAFKA_SECONDS = 20.0


class Ends(NamedTuple):
    """The next offsets of both topics by lane, or why they are not known."""

    transfers: Mapping[int, int]
    balances: Mapping[int, int]
    error: str | None = None


@lane.command("list")
def lanes(as_json: AsJson = False) -> None:
    """List all lanes: owner, lag, offsets and ends of both topics, disputes, and why a lane is halted."""
    (server, projection), ends = asyncio.run(read_lanes())
    listed = [] if projection is None else [lane_object(lane, server.now, ends) for lane in projection.lanes]
    if as_json:
        print_json({"lanes": listed, "kafka_error": ends.error})
    else:
        print_lanes(listed)


async def read_lanes() -> tuple[tuple[ServerStatus, ProjectionStatus | None], Ends]:
    """Returns the lanes, and the ends of both topics after that: no lane is shown beyond an end."""
    return await read_projection(), await read_ends()


async def read_ends() -> Ends:
    """Returns the ends of both topics. Their records are committed, so no open transaction is behind them."""
    try:
        settings = addresses.kafka()
        consumer = AIOKafkaConsumer(
            **settings.broker.options, enable_auto_commit=False, isolation_level="read_committed"
        )
        try:
            async with asyncio.timeout(_KAFKA_SECONDS):
                await consumer.start()
                names = settings.transfers_topic, settings.balances_topic
                counts = await read_topic_identities(settings.broker, names)
                transfers, balances = [await _ends(consumer, name, counts[name].partitions) for name in names]
                return Ends(transfers, balances)
        finally:
            await consumer.stop()
    except (KafkaError, OSError, UserError) as cause:  # includes TimeoutError
        return Ends({}, {}, " ".join(str(cause).split()) or type(cause).__name__)


async def _ends(consumer: AIOKafkaConsumer, topic: str, count: int) -> dict[int, int]:
    partitions = [TopicPartition(topic, number) for number in range(count)]
    return {partition.partition: end for partition, end in (await consumer.end_offsets(partitions)).items()}


def lane_object(lane: LaneStatus, now: Millis, ends: Ends) -> dict[str, Any]:
    """Returns a lane for --json. `lag_seconds` is the age of the time as of which the lane is complete."""
    return {
        "lane": lane.lane,
        "owner": lane.owner,
        "generation": lane.generation,
        "as_of": None if lane.as_of is None else format_rfc3339(lane.as_of),
        "lag_seconds": None if lane.as_of is None else max(0, now - lane.as_of) / 1000,
        "transfers_next": lane.transfers_next,
        "transfers_end": ends.transfers.get(lane.lane),
        "balances_next": lane.balances_next,
        "balances_end": ends.balances.get(lane.lane),
        "halted_why": lane.halted_why,
        "recorder_halted_why": lane.recorder_halted_why,
        "disputed": lane.disputed,
        "drifting": lane.drifting,
        "unverified": lane.unverified,
    }


def print_lanes(lanes: list[dict[str, Any]]) -> None:
    """Prints lanes as a table. Its offsets are `next of end`; an end includes markers of transactions."""
    columns = ("lane", "owner", "lag", "as of", "transfers", "balances", "disputed", "halted")
    print_table(columns, map(_row, lanes))
    for row in lanes:
        for service, key in (("projector", "halted_why"), ("recorder", "recorder_halted_why")):
            if row[key]:
                typer.echo(f"lane {row['lane']} is halted by the {service}: {row[key]}")


def _row(lane: dict[str, Any]) -> tuple[object, ...]:
    halted = [
        name for name, key in (("projector", "halted_why"), ("recorder", "recorder_halted_why")) if lane[key]
    ]
    lag = None if lane["lag_seconds"] is None else f"{lane['lag_seconds']:,.1f} s"
    offsets = [
        f"{lane[f'{topic}_next']} of {'?' if (end := lane[f'{topic}_end']) is None else end}"
        for topic in ("transfers", "balances")
    ]
    return (
        lane["lane"],
        lane["owner"],
        lag,
        lane["as_of"],
        *offsets,
        lane["disputed"],
        ", ".join(halted) or None,
    )
