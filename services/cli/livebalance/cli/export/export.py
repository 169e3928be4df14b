"""`livebalance export`: balances and transfers for who goes on with them elsewhere."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import asyncpg
import typer

from livebalance.cli import addresses
from livebalance.cli.errors import UserError
from livebalance.cli.export.output_file import target
from livebalance.cli.export.text_format import Form, as_csv, as_ndjson
from livebalance.cli.progress import Progress
from livebalance.readmodel import exports
from livebalance.readmodel.exports import ChangedError, Export, ExportRequest, Extent, Row
from livebalance.readmodel.gateway_reads import UnavailableError
from livebalance.readmodel.projector_writes import Connection
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, parse_account_id
from livebalance.wire.timestamp import Millis, format_rfc3339, parse_rfc3339

WITHIN, DEADLINE = 10.0, 60.0  # seconds for Postgres to be there, and for each page
_STOPPED = 130  # exit code

app = typer.Typer(help="Balances or transfers, as CSV, NDJSON or Parquet.", no_args_is_help=True)

Name: TypeAlias = Literal["csv", "ndjson", "parquet"]
Read: TypeAlias = Callable[[Connection, ExportRequest], AbstractAsyncContextManager[Export]]

Format = Annotated[Name, typer.Option("--format", help="How rows are written.")]
Output = Annotated[
    Path | None, typer.Option(help="A file, written whole or not at all; else standard output.")
]
Accounts = Annotated[
    list[str] | None, typer.Option("--account", help="Only this account; as often as you like.")
]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Recorded at this time (RFC 3339) or later.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Recorded before this time (RFC 3339).")]
AsJson = Annotated[bool, typer.Option("--json", help="The last line as one JSON object.")]


@app.command()
def transfers(
    *,
    form: Format = "csv",
    output: Output = None,
    account: Accounts = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Transfers as they were listed when it began, in the order of accounts and revisions.

    Exit code 0: all of them were written; 1: it failed, and a file is as it was; 130: it was stopped.
    """
    asked = ExportRequest(_accounts(account), _time("--since", since), _time("--until", until))
    if asked.since is not None and asked.until is not None and asked.since >= asked.until:
        raise UserError("--since is not before --until: there is nothing in between")
    _export("transfers", exports.transfers, asked, _form(form, output), output, as_json=as_json)


@app.command()
def balances(
    *, form: Format = "csv", output: Output = None, account: Accounts = None, as_json: AsJson = False
) -> None:
    """Balances of one moment, in the order of accounts.

    Exit code 0: all of them were written; 1: it failed, and a file is as it was; 130: it was stopped.
    """
    asked = ExportRequest(_accounts(account))
    _export("balances", exports.balances, asked, _form(form, output), output, as_json=as_json)


def _accounts(told: list[str] | None) -> list[AccountId]:
    try:
        return [parse_account_id(text) for text in told or ()]
    except DecodeError:
        raise UserError("--account is 1 to 64 of A-Z a-z 0-9 . _ -") from None


def _time(option: str, text: str | None) -> Millis | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except DecodeError:
        raise UserError(f"{option} is a time with a zone, such as 2026-01-31T00:00:00Z") from None


def _form(name: Name, output: Path | None) -> Form:
    if name != "parquet":
        return as_csv if name == "csv" else as_ndjson
    if output is None:
        raise UserError("Parquet is written to a file: name one with --output")
    if find_spec("pyarrow") is None:
        raise UserError("Parquet needs pyarrow: pip install pyarrow, or write csv or ndjson")
    from livebalance.cli.export.parquet import as_parquet  # noqa: PLC0415 - for who has it

    return as_parquet


def _export(
    what: str, read: Read, asked: ExportRequest, form: Form, output: Path | None, *, as_json: bool
) -> None:
    try:
        count, extent = asyncio.run(_written(read, asked, form, output))
    except asyncio.CancelledError:
        typer.echo("livebalance: stopped", err=True)
        raise typer.Exit(_STOPPED) from None
    typer.echo(_as_json(count, extent) if as_json else _in_words(what, count, extent), err=output is None)


async def _written(read: Read, asked: ExportRequest, form: Form, output: Path | None) -> tuple[int, Extent]:
    """How many rows, and of when they are."""
    task, count = asyncio.current_task(), 0
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with _reading(read, asked) as found:
        mixed = output is None and os.isatty(1)  # with the rows, on one terminal
        with target(output) as file, form(file, found.columns) as write, Progress(quiet=mixed) as progress:
            async for rows in found.pages:
                write(rows)
                count += len(rows)
                progress.show(count)
    return count, found.extent


@asynccontextmanager
async def _reading(read: Read, asked: ExportRequest) -> AsyncIterator[Export]:
    """Raises UserError."""
    with _postgres():
        connection = await asyncpg.connect(
            addresses.postgres("analyst"),
            timeout=WITHIN,
            command_timeout=DEADLINE,
            server_settings=exports.SETTINGS,
        )
        try:
            await exports.prepare(connection)
            async with read(connection, asked) as found:
                yield found._replace(pages=_told(found.pages))
        finally:
            connection.terminate()


async def _told(pages: AsyncIterator[list[Row]]) -> AsyncIterator[list[Row]]:
    """What fails here is Postgres, not the file."""
    with _postgres():
        async for rows in pages:
            yield rows


@contextmanager
def _postgres() -> Iterator[None]:
    """Raises UserError."""
    try:
        yield
    except (UnavailableError, ChangedError) as cause:
        raise UserError(str(cause)) from cause
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
        raise UserError(f"Postgres: {' '.join(str(cause).split()) or type(cause).__name__}") from cause


def _as_json(count: int, extent: Extent) -> str:
    as_of = None if extent.as_of is None else format_rfc3339(extent.as_of)
    return json.dumps({"rows": count, "epoch": extent.epoch, "as_of": as_of, "ends": extent.ends})


def _in_words(what: str, count: int, extent: Extent) -> str:
    if extent.as_of is None:
        return f"{count} {what}; not all partitions know as of when they are complete"
    return f"{count} {what}, complete as of {format_rfc3339(extent.as_of)}"
