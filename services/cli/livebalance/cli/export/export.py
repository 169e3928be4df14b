"""`livebalance export`: balances and transfers as CSV, NDJSON or Parquet."""

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
from livebalance.cli.export.output_file import open_output
from livebalance.cli.export.text_format import OpenWriter, csv_writer, ndjson_writer
from livebalance.cli.progress import ProgressDisplay
from livebalance.readmodel import exports
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.exports import EpochChangedError, Export, ExportBounds, ExportRequest, Row
from livebalance.readmodel.gateway_reads import UnavailableError
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, parse_account_id
from livebalance.wire.timestamp import Millis, format_rfc3339, parse_rfc3339

CONNECT_TIMEOUT_SECONDS, PAGE_TIMEOUT_SECONDS = 10.0, 60.0
_STOPPED = 130  # exit code

app = typer.Typer(help="Export balances and transfers.", no_args_is_help=True)

FormatName: TypeAlias = Literal["csv", "ndjson", "parquet"]
OpenExport: TypeAlias = Callable[[Connection, ExportRequest], AbstractAsyncContextManager[Export]]

Format = Annotated[FormatName, typer.Option("--format", help="Format of the rows.")]
Output = Annotated[
    Path | None,
    typer.Option(help="File to write; it is replaced only when all is written. Default: standard output."),
]
Accounts = Annotated[list[str] | None, typer.Option("--account", help="Only this account. Can be repeated.")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only transfers recorded at this time (RFC 3339) or later.")
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only transfers recorded before this time (RFC 3339).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the last line as a JSON object.")]


@app.command()
def transfers(
    *,
    format_name: Format = "csv",
    output: Output = None,
    account: Accounts = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """Export the transfers that are listed when the export begins, ordered by account and revision.

    Exit code 0: all were written; 1: it failed, and a file is unchanged; 130: it was interrupted.
    """
    request = ExportRequest(_accounts(account), _time("--since", since), _time("--until", until))
    if request.since is not None and request.until is not None and request.since >= request.until:
        raise UserError("--since is not before --until: no transfer can match")
    writer = _writer(format_name, output)
    _export("transfers", exports.export_transfers, request, writer, output, as_json=as_json)


@app.command()
def balances(
    *, format_name: Format = "csv", output: Output = None, account: Accounts = None, as_json: AsJson = False
) -> None:
    """Export the balances of a single moment, ordered by account.

    Exit code 0: all were written; 1: it failed, and a file is unchanged; 130: it was interrupted.
    """
    request = ExportRequest(_accounts(account))
    writer = _writer(format_name, output)
    _export("balances", exports.export_balances, request, writer, output, as_json=as_json)


def _accounts(texts: list[str] | None) -> list[AccountId]:
    try:
        return [parse_account_id(text) for text in texts or ()]
    except DecodeError:
        raise UserError("--account must be 1 to 64 of A-Z a-z 0-9 . _ -") from None


def _time(option: str, text: str | None) -> Millis | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except DecodeError:
        raise UserError(f"{option} must be a time with a zone, such as 2026-01-31T00:00:00Z") from None


def _writer(name: FormatName, output: Path | None) -> OpenWriter:
    if name != "parquet":
        return csv_writer if name == "csv" else ndjson_writer
    if output is None:
        raise UserError("Parquet needs a file: give its name with --output")
    if find_spec("pyarrow") is None:
        raise UserError("Parquet needs pyarrow: pip install pyarrow, or write csv or ndjson")
    from livebalance.cli.export.parquet import parquet_writer  # noqa: PLC0415 - an optional dependency

    return parquet_writer


def _export(
    noun: str,
    open_export: OpenExport,
    request: ExportRequest,
    writer: OpenWriter,
    output: Path | None,
    *,
    as_json: bool,
) -> None:
    try:
        count, bounds = asyncio.run(_write(open_export, request, writer, output))
    except asyncio.CancelledError:
        typer.echo("livebalance: stopped", err=True)
        raise typer.Exit(_STOPPED) from None
    summary = _summary_object(count, bounds) if as_json else _summary(noun, count, bounds)
    typer.echo(summary, err=output is None)


async def _write(
    open_export: OpenExport, request: ExportRequest, writer: OpenWriter, output: Path | None
) -> tuple[int, ExportBounds]:
    """Writes all rows; returns their number and the bounds of the export."""
    task, count = asyncio.current_task(), 0
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with _connect(open_export, request) as export:
        quiet = output is None and os.isatty(1)  # the rows are on the same terminal
        with (
            open_output(output) as file,
            writer(file, export.columns) as write,
            ProgressDisplay(quiet=quiet) as progress,
        ):
            async for rows in export.pages:
                write(rows)
                count += len(rows)
                progress.show_written(count)
    return count, export.bounds


@asynccontextmanager
async def _connect(open_export: OpenExport, request: ExportRequest) -> AsyncIterator[Export]:
    """Raises UserError."""
    with _postgres_errors():
        connection = await asyncpg.connect(
            addresses.postgres("analyst"),
            timeout=CONNECT_TIMEOUT_SECONDS,
            command_timeout=PAGE_TIMEOUT_SECONDS,
            server_settings=exports.SETTINGS,
        )
        try:
            await exports.set_numeric_codec(connection)
            async with open_export(connection, request) as export:
                yield export._replace(pages=_pages(export.pages))
        finally:
            connection.terminate()


async def _pages(pages: AsyncIterator[list[Row]]) -> AsyncIterator[list[Row]]:
    """Yields the pages. Translates errors here, because an OSError of the file means another error."""
    with _postgres_errors():
        async for rows in pages:
            yield rows


@contextmanager
def _postgres_errors() -> Iterator[None]:
    """Raises UserError for an error of Postgres."""
    try:
        yield
    except (UnavailableError, EpochChangedError) as cause:
        raise UserError(str(cause)) from cause
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
        raise UserError(f"Postgres: {' '.join(str(cause).split()) or type(cause).__name__}") from cause


def _summary_object(count: int, bounds: ExportBounds) -> str:
    as_of = None if bounds.as_of is None else format_rfc3339(bounds.as_of)
    return json.dumps({"rows": count, "epoch": bounds.epoch, "as_of": as_of, "ends": bounds.ends})


def _summary(noun: str, count: int, bounds: ExportBounds) -> str:
    if bounds.as_of is None:
        return f"{count} {noun}; a partition does not report up to which time it is complete"
    return f"{count} {noun}, complete as of {format_rfc3339(bounds.as_of)}"
