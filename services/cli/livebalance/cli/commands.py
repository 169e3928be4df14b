"""The commands of `livebalance`, their options and their output."""

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from typing import Annotated

import typer
from rich.console import Console

from livebalance.cli import addresses, config
from livebalance.cli.errors import UserError, from_os
from livebalance.cli.export import export
from livebalance.cli.inspection import lists, token
from livebalance.cli.inspection.doctor import doctor
from livebalance.cli.inspection.explain import explain
from livebalance.cli.inspection.status import status
from livebalance.cli.inspection.watch import watch
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.produce import sources
from livebalance.cli.produce.produce import MakeSource, ProduceReport, produce_transfers
from livebalance.cli.progress import ProgressDisplay
from livebalance.cli.projection import epoch, lane, quarantine
from livebalance.cli.projection.erase import erase_account
from livebalance.cli.projection.revoke import revoke_tokens
from livebalance.cli.protocol import command as protocol
from livebalance.cli.rebuild.command import rebuild, verify
from livebalance.cli.topics import check_source as source_check
from livebalance.cli.topics import check_source_report
from livebalance.generator.transfers import MAX_ACCOUNTS, run_name
from livebalance.wire.timestamp import format_rfc3339

_SKIPPED, _STOPPED = 3, 130  # exit codes

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

check = typer.Typer(help="Check the source topics.", no_args_is_help=True)
app.add_typer(check, name="check")
app.add_typer(config.app, name="config")
app.add_typer(epoch.app, name="epoch")
app.add_typer(export.app, name="export")
app.add_typer(lane.app, name="lane")
app.add_typer(quarantine.app, name="quarantine")
app.command()(status)
app.command()(doctor)
app.command()(explain)
app.command()(watch)
app.add_typer(token.app, name="token")
app.add_typer(protocol.app, name="protocol")
app.command()(rebuild)
app.command()(verify)
lane.app.command("list")(lists.lanes)
epoch.app.command("show")(lists.epoch)
quarantine.app.command("show")(lists.quarantined)
revoke_app = typer.Typer(invoke_without_command=True)
revoke_app.command("list")(lists.revocations)
app.add_typer(revoke_app, name="revoke")


def join_transfers(arguments: list[str]) -> list[str]:
    """Joins `--transfer ID ACCOUNT AMOUNT` into `--transfer=ID,ACCOUNT,AMOUNT`, a line of CSV.

    Typer has repeatable options and options with three values, but no repeatable options with three values.
    An option with fewer values stays as it is.
    """
    joined, rest = list[str](), arguments
    while rest:
        argument, rest = rest[0], rest[1:]
        if argument == "--transfer" and len(rest) >= 3:
            argument, rest = f"--transfer={','.join(rest[:3])}", rest[3:]
        joined.append(argument)
    return joined


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"livebalance {version('livebalance-cli')}")
        raise typer.Exit


@app.callback()
def livebalance(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Operate Livebalance.

    Commands use the servers in LIVEBALANCE_KAFKA, _POSTGRES and _REDIS; by default those of the demo on this
    machine.
    """


@revoke_app.callback()
def revoke(
    *,
    context: typer.Context,
    subject: Annotated[str | None, typer.Option(help="Tokens of this user (claim sub).")] = None,
    session: Annotated[str | None, typer.Option(help="Tokens of this login (claim sid).")] = None,
    account: Annotated[
        str | None, typer.Option(help="Access to this account only. As the only option: for all users.")
    ] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Revoke tokens, or their access to an account, within 5 seconds. A token must match all given options.

    Tokens issued until one minute from now are revoked; tokens issued later are valid.
    """
    if context.invoked_subcommand:
        if subject or session or account:
            raise UserError("nothing was revoked: the options of `revoke list` stand after `list`")
        return
    revocation, notified = asyncio.run(revoke_tokens(subject, session, account, reason))
    if as_json:
        fields = {"subject": revocation.subject, "session": revocation.login, "account": revocation.account}
        typer.echo(json.dumps({**fields, "at": format_rfc3339(revocation.at), "notified": notified}))
        return
    matches = [f"{name} {value}" for name, value in (("user", subject), ("login", session)) if value]
    rights = f"access to account {account}" if account else "all access"
    effect = (
        "Gateways were notified."
        if notified
        else "Redis did not notify the gateways; they apply it within 5 seconds."
    )
    Console().print(
        f"Revoked {rights} for {' and '.join(matches) or 'all users'}. {effect}",
        highlight=False,
        soft_wrap=True,
    )


@app.command()
def erase(
    account: Annotated[str, typer.Argument(help="Id of the account.")],
    reason: Reason,
    as_json: AsJson = False,
) -> None:
    """Erase an account: its balance, and all its transfers that Kafka has now. This cannot be undone.

    Later transfers open the account again, at 0. A rebuild erases the account too.
    """
    erased = asyncio.run(erase_account(account, reason))
    if as_json:
        typer.echo(json.dumps(erased._asdict()))
        return
    source = f"partition {erased.lane}, before offset {erased.transfers_before}"
    typer.echo(f"Account {erased.account} was erased: its balance, and its transfers in {source}.")


@check.command("source")
def check_source(
    records: Annotated[
        int, typer.Option("--records", min=1, help="Number of the newest records to decode per topic.")
    ] = 1000,
    as_json: AsJson = False,
) -> None:
    """Check both topics: partitions, retention, a sample record, and records that would be quarantined.

    Exit code 1: no projection can be built from the topics, or some records would be quarantined.
    """
    report = asyncio.run(source_check.check_source(records))
    if as_json:
        typer.echo(json.dumps(check_source_report.as_object(report)))
    else:
        check_source_report.show(report, Console())
    raise typer.Exit(0 if report.is_good else 1)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter("not a finite number")
    return value


_RANDOM_PANEL = "With --random"


@app.command()
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
        return asyncio.run(
            produce_transfers(addresses.kafka(), make_source, progress.show_batch, transactional_id)
        )


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
