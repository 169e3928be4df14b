"""What can be said on the command line, and how the answer is shown."""

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from livebalance.cli import addresses, config
from livebalance.cli.errors import UserError, from_os
from livebalance.cli.export import export
from livebalance.cli.produce import sources
from livebalance.cli.produce.produce import Begin, ProduceReport
from livebalance.cli.produce.produce import produce as write_down
from livebalance.cli.progress import Progress
from livebalance.cli.projection import epoch, lane, quarantine
from livebalance.cli.projection.revoke import revoke as take_back
from livebalance.cli.topics import check_source as source_check
from livebalance.cli.topics import check_source_report
from livebalance.generator.transfers import MAX_ACCOUNTS, run_name
from livebalance.wire.timestamp import format_rfc3339

_SKIPPED, _STOPPED = 3, 130  # exit codes

app = typer.Typer(
    help="Livebalance for its operator.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

check = typer.Typer(help="See whether what is there will do.", no_args_is_help=True)
app.add_typer(check, name="check")
app.add_typer(config.app, name="config")
app.add_typer(epoch.app, name="epoch")
app.add_typer(export.app, name="export")
app.add_typer(lane.app, name="lane")
app.add_typer(quarantine.app, name="quarantine")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]


@app.callback()
def livebalance() -> None:
    """Servers are those of LIVEBALANCE_KAFKA, _POSTGRES and _REDIS, else of the demo that runs here."""


@app.command()
def revoke(
    subject: Annotated[str | None, typer.Option(help="Tokens of this user.")] = None,
    session: Annotated[str | None, typer.Option(help="Tokens of this login (claim sid).")] = None,
    account: Annotated[str | None, typer.Option(help="This account only; alone: of everyone.")] = None,
    why: Annotated[str, typer.Option(help="Stands in the table for who reads it later.")] = "",
    as_json: AsJson = False,
) -> None:
    """Take rights back, within 5 seconds, from the tokens that have all of what is named.

    It concerns tokens issued until a minute from now; one that is issued later counts again.
    """
    revocation, rang = asyncio.run(take_back(subject, session, account, why))
    if as_json:
        named = {"subject": revocation.subject, "session": revocation.login, "account": revocation.account}
        typer.echo(json.dumps({**named, "at": format_rfc3339(revocation.at), "rang": rang}))
        return
    whose = [f"{name} {value}" for name, value in (("user", subject), ("login", session)) if value]
    what = f"account {account}" if account else "everything"
    told = "gateways were told" if rang else "gateways see it within seconds: Redis could not be told"
    Console().print(
        f"Revoked {what} for {' and '.join(whose) or 'everyone'}; {told}.", highlight=False, soft_wrap=True
    )


@check.command("source")
def check_source(
    look_at: Annotated[int, typer.Option("--look-at", min=1, help="Newest records of each topic.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Look at both topics: partitions, how they are kept, a record of each, and what would be put aside.

    Exit code 1: no projection can be built, or some records would be put aside.
    """
    report = asyncio.run(source_check.check_source(look_at))
    if as_json:
        typer.echo(json.dumps(check_source_report.as_object(report)))
    else:
        check_source_report.show(report, Console())
    raise typer.Exit(0 if report.is_good else 1)


def _number(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter("a number")
    return value


_CHANCE = "With --random"


@app.command()
def produce(
    *,
    file: Annotated[str | None, typer.Option("--from", help="A CSV file; - is standard input.")] = None,
    transfer: Annotated[
        list[str] | None,
        typer.Option(metavar="ID ACCOUNT AMOUNT", help="One transfer; as often as you like."),
    ] = None,
    random: Annotated[bool, typer.Option("--random", help="Transfers between random accounts.")] = False,
    accounts: Annotated[
        int, typer.Option(min=2, max=MAX_ACCOUNTS, help="How many.", rich_help_panel=_CHANCE)
    ] = 8,
    seed: Annotated[
        int, typer.Option(help="The same transfers for the same seed.", rich_help_panel=_CHANCE)
    ] = 1,
    rate: Annotated[
        float,
        typer.Option(
            min=0, callback=_number, help="A second; 0: all that Kafka takes.", rich_help_panel=_CHANCE
        ),
    ] = 5.0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Transfers; each is two records.", rich_help_panel=_CHANCE),
    ] = None,
    zipf: Annotated[
        float,
        typer.Option(
            min=0,
            max=10,
            callback=_number,
            help="Skew: the k-th account as often as 1 / k^S; 0: all alike.",
            rich_help_panel=_CHANCE,
        ),
    ] = 0.0,
    as_json: AsJson = False,
) -> None:
    """Write transfers to Kafka: of a file, of this line, or random ones.

    A file's first line names its columns: id, account, amount and, if you like, time (RFC 3339, or ms since
    1970). A line that is no transfer is named and left out.

    Exit code 0: all was written; 1: it failed; 3: lines were left out; 130: it was stopped.
    """
    if [file is not None, bool(transfer), random].count(True) != 1:
        raise UserError("what shall be written? name one of --from, --transfer and --random")
    if random:
        run = run_name(time.time_ns())
        chance = sources.RandomSource(accounts, seed, rate, limit, zipf)
        report = _produced(partial(chance.transfers, run), f"produce-{run}")
    elif transfer:
        report = _produced(lambda _: sources.argument_source(transfer))
    else:
        with _opened(file or "-") as descriptor:
            report = _produced(partial(sources.csv_source, descriptor))
    typer.echo(json.dumps(report.as_object()) if as_json else str(report))
    raise typer.Exit(_STOPPED if report.stopped else _SKIPPED if report.skipped else 0)


def _produced(begin: Begin, transactional_id: str | None = None) -> ProduceReport:
    with Progress() as progress:
        return asyncio.run(write_down(addresses.kafka(), begin, progress.tell, transactional_id))


@contextlib.contextmanager
def _opened(name: str) -> Iterator[int]:
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
