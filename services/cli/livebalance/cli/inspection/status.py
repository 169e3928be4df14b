"""`livebalance status`: the projection, its lanes and the services beside it."""

import asyncio
from typing import TYPE_CHECKING, Any

import typer

from livebalance.cli.inspection.lanes import Ends, lane_object, print_lanes, read_lanes
from livebalance.cli.options import AsJson, Operations
from livebalance.cli.table import print_json, print_table
from livebalance.readmodel.operator.status_rows import ProjectionStatus, ServerStatus

if TYPE_CHECKING:
    from livebalance.cli.inspection.gateways import GatewayStatus


def status(operations: Operations = None, as_json: AsJson = False) -> None:
    """Show the services, the lanes with their lag and owner, the epoch, the quarantine and disputes.

    Gateways count their sessions themselves: name their operations ports with --operations.
    """
    ((server, projection), ends), gateways = asyncio.run(_read_all(operations or []))
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
) -> "tuple[tuple[tuple[ServerStatus, ProjectionStatus | None], Ends], list[GatewayStatus]]":
    return await asyncio.gather(read_lanes(), _read_gateways(operations))


async def _read_gateways(urls: list[str]) -> "list[GatewayStatus]":
    if not urls:
        return []
    # Its HTTP client is slow to import.
    from livebalance.cli.inspection.gateways import read_gateways  # noqa: PLC0415

    return await read_gateways(urls)


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
    gateways: "list[GatewayStatus]",
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
