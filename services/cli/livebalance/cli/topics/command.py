"""`livebalance check`: its options and its output."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from livebalance.cli.options import AsJson
from livebalance.cli.topics import check_source, check_source_report

app = typer.Typer(help="Check the source topics.", no_args_is_help=True)


@app.command()
def source(
    records: Annotated[
        int, typer.Option("--records", min=1, help="Number of the newest records to decode per topic.")
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Check both topics: partitions, retention, a sample record, and records that would be quarantined.

    Exit code 1: no projection can be built from the topics, or some records would be quarantined.
    """
    report = asyncio.run(check_source.check_source(records))
    if as_json:
        typer.echo(json.dumps(check_source_report.as_object(report)))
    else:
        check_source_report.show(report, Console())
    raise typer.Exit(0 if report.is_good else 1)
