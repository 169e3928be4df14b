"""`livebalance status`: the projection, its lanes and the services beside it."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.inspection.gateways import GatewayStatus, read_gateways
from livebalance.cli.options import AsJson, Operations
from livebalance.cli.projection.database import operator_connection
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.operator.status_reads import read_server, read_status
from livebalance.readmodel.operator.status_rows import LaneStatus, ProjectionStatus, ServerStatus
from livebalance.runtime.kafka.topic_identity import read_topic_identities
from livebalance.wire.timestamp import Millis, format_rfc3339

_KAFKA_SECONDS = 20.0
READ_SECONDS = 30.0  # of Postgres; a read holds nobody up
_FAILURE = "nothing can be shown"


class Ends(NamedTuple):
    """The next offsets of both topics by lane, or why they are not known."""

    transfers: Mapping[int, int]
    balances: Mapping[int, int]
    error: str | None = None


def status(operations: Operations = None, as_json: AsJson = False) -> None:
    """Show the services, the lanes with their lag and owner, the epoch, the quarantine and disputes.

    Gateways count their sessions themselves: name their operations ports with --operations.
    """
    (server, projection), ends, gateways = asyncio.run(_read_all(operations or []))
    lanes = [] if projection is None else [lane_object(lane, server.now, ends) for lane in projection.lanes]
    if as_json:
        print_json(_object(server, projection, lanes, ends, gateways))
        return
    typer.echo(_summary(projection))
    if ends.error:
        typer.echo(f"Kafka does not answer, so ends of topics are not known: {ends.error}")
    typer.echo()
    print_lanes(lanes)
    typer.echo()
    print_table(("service", "name", "connections"), server.services)
    if gateways:
        typer.echo()
        columns = ("gateway", "ready", "sessions", "stale seconds", "problem")
        print_table(columns, [(g.url, "yes" if g.ready else "no", *g[2:]) for g in gateways])


async def _read_all(
    operations: list[str],
) -> tuple[tuple[ServerStatus, ProjectionStatus | None], Ends, list[GatewayStatus]]:
    return await asyncio.gather(read_projection(), read_ends(), read_gateways(operations))


async def read_projection() -> tuple[ServerStatus, ProjectionStatus | None]:
    """Returns the state of the server and of the projection. Raises UserError."""
    async with operator_connection(_FAILURE, READ_SECONDS) as connection:
        return await read_server(connection), await read_status(connection)


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


# --- output


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
    for lane in lanes:
        for service, key in (("projector", "halted_why"), ("recorder", "recorder_halted_why")):
            if lane[key]:
                typer.echo(f"lane {lane['lane']} is halted by the {service}: {lane[key]}")


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


def _summary(projection: ProjectionStatus | None) -> str:
    if projection is None:
        return "No projector has written to this database yet."
    known = "" if projection.known else " (not the server that the projection was written to)"
    disputed = sum(lane.disputed for lane in projection.lanes)
    return (
        f"Epoch {projection.epoch}{known}, {projection.partitions} lanes, {disputed} accounts disputed,"
        f" {projection.quarantined} records in quarantine."
    )


def _object(
    server: ServerStatus,
    projection: ProjectionStatus | None,
    lanes: list[dict[str, Any]],
    ends: Ends,
    gateways: list[GatewayStatus],
) -> dict[str, Any]:
    return {
        "epoch": projection.epoch if projection else None,
        "known_server": projection.known if projection else None,
        "quarantined": projection.quarantined if projection else 0,
        "disputed": sum(lane["disputed"] for lane in lanes),
        "kafka_error": ends.error,
        "lanes": lanes,
        "services": [service._asdict() for service in server.services],
        "gateways": [gateway._asdict() for gateway in gateways],
    }
