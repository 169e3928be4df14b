"""`livebalance quarantine`: lists quarantined records, and requests their replay."""

import asyncio
import json
from typing import Annotated, Any

import typer

from livebalance.cli.errors import UserError
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.projection.database import operator_connection
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
    state: Annotated[
        str | None,
        typer.Option(help="Only records in this state: held, skipped, replay, applied, duplicate, stale, …"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of records.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List quarantined records, newest first: id, state, position in Kafka, time, key and reason."""
    filter_ = QuarantineFilter(None if lane is None else Lane(lane), topic, reason, state)
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
    """Request the replay of records: the owners of their lanes apply them, with their original offsets.

    Replay a record only if the projector rejected it and would accept it now. If the recorder rejected it
    too, the record has no balance: have its producer send it again. Either all records are replayed, or none.
    """
    requested = sorted(set(ids))
    asyncio.run(_request_replay(requested, reason))
    if as_json:
        typer.echo(json.dumps({"requested": requested}))
        return
    records = "1 record" if len(requested) == 1 else f"{len(requested)} records"
    typer.echo(f"Requested the replay of {records}; `livebalance quarantine list` shows the outcome.")


async def _list(filter_: QuarantineFilter, limit: int) -> list[QuarantinedRecord]:
    """Raises UserError."""
    async with operator_connection("no records are listed") as connection:
        return await list_quarantined(connection, filter_, limit)


async def _request_replay(ids: list[int], reason: str) -> None:
    """Raises UserError."""
    async with operator_connection(_FAILURE) as connection:
        rejected = await request_replay(connection, ids, reason)
    if rejected:
        reasons = ", ".join(f"record {id_} {why}" for id_, why in rejected.items())
        raise UserError(f"{_FAILURE}: {reasons}")


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
    return f"{record.id:>6}  {record.state:<9}  {position}  {time}  {key}  {record.reason}"


def _printable(value: bytes | None) -> str | None:
    """Escapes bytes of a record, so that they cannot control a terminal."""
    return None if value is None else ascii(value.decode("utf-8", "backslashreplace"))[1:-1]
