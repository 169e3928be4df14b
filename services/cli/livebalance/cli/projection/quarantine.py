"""`livebalance quarantine`: lists quarantined records, and requests their replay."""

import asyncio
import json
from typing import Annotated, Any, Literal

import typer

from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.projection.database import operator_connection
from livebalance.cli.projection.recorder import send_again
from livebalance.readmodel.operator.recorder_actions import rejected_transfers
from livebalance.readmodel.quarantine import (
    QuarantinedRecord,
    QuarantineFilter,
    list_quarantined,
    request_replay,
)
from livebalance.wire.identity import Lane
from livebalance.wire.timestamp import format_rfc3339

_FAILURE = "nothing is replayed"
_MAX_ID = 2**63 - 1

app = typer.Typer(help="List and replay rejected records.", no_args_is_help=True)


@app.callback()
def quarantine() -> None:
    """List and replay rejected records."""


@app.command("list")
def list_records(
    *,
    lane: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Only records of this lane.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only records of this topic.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only records whose reason contains this text.")] = None,
    of: Annotated[
        Literal["projector", "recorder"] | None,
        typer.Option(help="Only records that this service has rejected."),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="Only records in this state: held, skipped, replay, applied, duplicate, stale, sent, …"
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of records.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List quarantined records, newest first: id, state, position in Kafka, time, key, service and reason."""
    filter_ = QuarantineFilter(None if lane is None else Lane(lane), topic, reason, state, of)
    records = asyncio.run(_list(filter_, limit + 1))
    listed, more = records[:limit], len(records) > limit
    if as_json:
        typer.echo(json.dumps({"records": [_object(record) for record in listed], "more": more}))
        return
    typer.echo("\n".join(map(_line, listed)) if listed else "No records.")
    if more:
        typer.echo("There are more records: raise --limit.")


@app.command()
def replay(
    ids: Annotated[
        list[int],
        typer.Argument(metavar="ID...", min=1, max=_MAX_ID, help="Records in the state held or skipped."),
    ],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Replay records that would be accepted now. Either all records are replayed, or none.

    Records that a projector rejected are applied by the owners of their lanes, with their original offsets.
    Transfers that a recorder rejected are sent to their topic again. If both rejected a transfer, replay the
    recorder's record only.
    """
    requested = sorted(set(ids))
    sent = asyncio.run(_request_replay(requested, reason))
    if as_json:
        typer.echo(json.dumps({"requested": requested, "sent": sent}))
        return
    if sent:
        typer.echo(f"Sent {_count(len(sent))} to the topic of transfers again.")
    if len(sent) < len(requested):
        records = _count(len(requested) - len(sent))
        typer.echo(f"Requested the replay of {records}; `livebalance quarantine list` shows the outcome.")


def _count(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"


async def _list(filter_: QuarantineFilter, limit: int) -> list[QuarantinedRecord]:
    """Raises UserError."""
    async with operator_connection("no records are listed") as connection:
        return await list_quarantined(connection, filter_, limit)


async def _request_replay(ids: list[int], reason: str) -> list[int]:
    """Returns the ids of the transfers that were sent to their topic again. Raises UserError."""
    async with operator_connection(_FAILURE) as connection, connection.transaction():
        rejected = await request_replay(connection, ids, reason)
        if rejected:
            reasons = ", ".join(f"record {id_} {why}" for id_, why in rejected.items())
            raise UserError(f"{_FAILURE}: {reasons}")
        transfers = await rejected_transfers(connection, ids)
        if transfers:
            await send_again(transfers)
    return [transfer.id for transfer in transfers]


def _object(record: QuarantinedRecord) -> dict[str, Any]:
    return {
        **record._asdict(),
        "kafka_time": format_rfc3339(record.kafka_time),
        "key": _printable(record.key),
        "headers": [[_printable(name), _printable(value)] for name, value in record.headers],
    }


def _line(record: QuarantinedRecord) -> str:
    position = f"{record.topic}/{record.partition}@{record.offset}"
    time, key = format_rfc3339(record.kafka_time), _printable(record.key) or "-"
    return (
        f"{record.id:>6}  {record.state:<9}  {position}  {time}  {key}  {record.rejected_by}: {record.reason}"
    )


def _printable(value: bytes | None) -> str | None:
    """Escapes bytes of a record, so that they cannot control a terminal."""
    return None if value is None else ascii(value.decode("utf-8", "backslashreplace"))[1:-1]
