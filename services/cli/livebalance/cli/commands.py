"""What can be said on the command line, and how the answer is shown."""

import asyncio
import json
from typing import Annotated

import typer
from rich.console import Console

from livebalance.cli import findings
from livebalance.cli.revoke import revoke as take_back
from livebalance.cli.survey import look
from livebalance.wire.instant import rfc3339

app = typer.Typer(
    help="Livebalance for its operator.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

check = typer.Typer(help="See whether what is there will do.", no_args_is_help=True)
app.add_typer(check, name="check")

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
        typer.echo(json.dumps({**named, "at": rfc3339(revocation.at), "rang": rang}))
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
    report = asyncio.run(look(look_at))
    if as_json:
        typer.echo(json.dumps(findings.as_object(report)))
    else:
        findings.show(report, Console())
    raise typer.Exit(0 if report.is_good else 1)
