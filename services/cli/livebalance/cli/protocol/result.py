"""The result of each rule that a gateway or a client was checked against."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import typer

from livebalance.cli.table import print_json
from livebalance.runtime.redact import one_line

_BROKEN = 3  # exit code


class RuleError(Exception):
    """A gateway or a client breaks a rule; the message says what it did."""


class RuleResult(NamedTuple):
    """Whether a rule holds. `detail` says why not, or why it was not checked."""

    rule: str
    state: Literal["passed", "failed", "skipped"]
    detail: str | None = None


def report(results: Sequence[RuleResult], *, as_json: bool) -> None:
    """Prints the results. Ends the command with exit code 3 if a rule does not hold."""
    conforms = all(result.state != "failed" for result in results)
    if as_json:
        print_json({"conforms": conforms, "rules": [result._asdict() for result in results]})
    else:
        for result in results:
            typer.echo(one_line(f"{result.state:<8}{result.rule}"))
            if result.detail:
                typer.echo(one_line(f"{'':8}{result.detail}"))
        failed = sum(result.state == "failed" for result in results)
        typer.echo("All rules hold." if conforms else f"{failed} of {len(results)} rules do not hold.")
    raise typer.Exit(0 if conforms else _BROKEN)
