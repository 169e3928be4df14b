"""`livebalance quarantine`: records that were put aside, and having them applied after all."""

import asyncio
import json
from typing import Annotated, Any

import typer

from livebalance.cli.errors import UserError
from livebalance.cli.projection.database import operator_connection
from livebalance.readmodel.quarantine import QuarantinedRecord, QuarantineFilter, held, mark
from livebalance.wire.identity import Lane
from livebalance.wire.timestamp import format_rfc3339

_UNDONE = "nothing is replayed"
_MAX_ID = 2**63 - 1

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]

app = typer.Typer(help="Records that were put aside.", no_args_is_help=True)


@app.callback()
def quarantine() -> None:
    """Records that were put aside."""


@app.command("list")
def list_(
    *,
    lane: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Of this one only.")] = None,
    topic: Annotated[str | None, typer.Option(help="Of this one only.")] = None,
    reason: Annotated[str | None, typer.Option(help="With these words in it.")] = None,
    state: Annotated[str | None, typer.Option(help="held, replay, applied, duplicate, stale, …")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Records.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show what was put aside, the newest first: id, state, place in Kafka, time, key, and the reason."""
    wanted = QuarantineFilter(None if lane is None else Lane(lane), topic, reason, state)
    found = asyncio.run(_held(wanted, limit + 1))
    shown, more = found[:limit], len(found) > limit
    if as_json:
        typer.echo(json.dumps({"records": [_object(one) for one in shown], "more": more}))
        return
    typer.echo("\n".join(map(_line, shown)) if shown else "There are none.")
    if more:
        typer.echo("There are more: --limit.")


@app.command()
def replay(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", min=1, max=_MAX_ID, help="Of held records.")],
    why: Annotated[str, typer.Option(help="Stands in the table for who reads it later.")],
    as_json: AsJson = False,
) -> None:
    """Have the owners of their lanes apply records as they are, with the place they had in Kafka.

    For what the projector alone refused, and would take now. What the recorder refused too has no balance:
    have that sent again through Kafka, and what is to be changed as well. All are taken, or none.
    """
    marked = sorted(set(ids))
    asyncio.run(_mark(marked, why))
    if as_json:
        typer.echo(json.dumps({"marked": marked}))
        return
    many = "1 record is" if len(marked) == 1 else f"{len(marked)} records are"
    typer.echo(f"{many} to be applied now; `livebalance quarantine list` says what became of each.")


async def _held(wanted: QuarantineFilter, limit: int) -> list[QuarantinedRecord]:
    """Raises UserError."""
    async with operator_connection("nothing is shown") as connection:
        return await held(connection, wanted, limit)


async def _mark(ids: list[int], why: str) -> None:
    """Raises UserError."""
    async with operator_connection(_UNDONE) as connection:
        unfit = await mark(connection, ids, why)
    if unfit:
        raise UserError(f"{_UNDONE}: {', '.join(f'record {id_} {reason}' for id_, reason in unfit.items())}")


def _object(one: QuarantinedRecord) -> dict[str, Any]:
    return {**one._asdict(), "kafka_time": format_rfc3339(one.kafka_time), "key": _text(one.key)}


def _line(one: QuarantinedRecord) -> str:
    place = f"{one.topic}/{one.partition}@{one.offset}"
    key = _text(one.key) or "-"
    return f"{one.id:>6}  {one.state:<9}  {place}  {format_rfc3339(one.kafka_time)}  {key}  {one.reason}"


def _text(key: bytes | None) -> str | None:
    """Whatever a producer wrote, a terminal only shows it."""
    return None if key is None else ascii(key.decode("utf-8", "backslashreplace"))[1:-1]
