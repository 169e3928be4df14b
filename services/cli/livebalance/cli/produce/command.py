"""`livebalance produce`: its options and its output."""

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated

import typer

from livebalance.cli import addresses
from livebalance.cli.errors import UserError, from_os
from livebalance.cli.options import AsJson
from livebalance.cli.produce import sources
from livebalance.cli.produce.csv_transfers import SkippedLine
from livebalance.cli.produce.produce import MakeSource, ProduceReport, produce_transfers
from livebalance.cli.progress import ProgressDisplay
from livebalance.generator.transfers import MAX_ACCOUNTS, run_name

_SKIPPED, _STOPPED = 3, 130  # exit codes


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter("not a finite number")
    return value


_RANDOM_PANEL = "With --random"


def produce(
    *,
    file: Annotated[
        str | None, typer.Option("--from", help="Read transfers from a CSV file; - is standard input.")
    ] = None,
    transfer: Annotated[
        list[str] | None,
        typer.Option(metavar="ID ACCOUNT AMOUNT", help="Write this transfer. Can be repeated."),
    ] = None,
    random: Annotated[
        bool, typer.Option("--random", help="Write transfers between random accounts.")
    ] = False,
    accounts: Annotated[
        int, typer.Option(min=2, max=MAX_ACCOUNTS, help="Number of accounts.", rich_help_panel=_RANDOM_PANEL)
    ] = 8,
    seed: Annotated[
        int,
        typer.Option(help="The same seed gives the same transfers.", rich_help_panel=_RANDOM_PANEL),
    ] = 1,
    rate: Annotated[
        float,
        typer.Option(
            min=0,
            callback=_finite,
            help="Transfers per second; 0: as fast as Kafka accepts them.",
            rich_help_panel=_RANDOM_PANEL,
        ),
    ] = 5.0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Number of transfers; each is two records.", rich_help_panel=_RANDOM_PANEL),
    ] = None,
    zipf: Annotated[
        float,
        typer.Option(
            min=0,
            max=10,
            callback=_finite,
            help="Skew S: the k-th account is chosen in proportion to 1 / k^S; 0: all accounts equally.",
            rich_help_panel=_RANDOM_PANEL,
        ),
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Write transfers to Kafka: from a file, from the arguments, or at random.

    The first line of a file names its columns: id, account, amount and, optionally, time.
    Times are RFC 3339 or ms since 1970. An invalid line is reported and skipped.

    Exit code 0: all were written; 1: it failed; 3: lines were skipped; 130: it was interrupted.
    """
    if [file is not None, bool(transfer), random].count(True) != 1:
        raise UserError("no single source of transfers: give one of --from, --transfer and --random")
    if random:
        run = run_name(time.time_ns())
        source = sources.RandomSource(accounts, seed, rate, limit, zipf)
        report = _run_produce(partial(source.transfers, run), f"produce-{run}")
    elif transfer:
        report = _run_produce(lambda _: sources.argument_source(transfer))
    else:
        with _open_input(file or "-") as descriptor:
            report = _run_produce(partial(sources.csv_source, descriptor))
    typer.echo(json.dumps(report.as_object()) if as_json else str(report))
    raise typer.Exit(_STOPPED if report.stopped else _SKIPPED if report.skipped else 0)


def _run_produce(make_source: MakeSource, transactional_id: str | None = None) -> ProduceReport:
    with ProgressDisplay() as progress:

        def show_batch(report: ProduceReport, skipped: Sequence[SkippedLine]) -> None:
            for line in skipped:
                progress.print_line(f"{line.where}: {line.reason}")
            progress.show_written(report.written)

        return asyncio.run(produce_transfers(addresses.kafka(), make_source, show_batch, transactional_id))


@contextlib.contextmanager
def _open_input(name: str) -> Iterator[int]:
    if name == "-":
        yield 0
        return
    try:
        descriptor = os.open(name, os.O_RDONLY)
    except OSError as cause:
        raise from_os(cause) from cause
    try:
        yield descriptor
    finally:
        os.close(descriptor)
