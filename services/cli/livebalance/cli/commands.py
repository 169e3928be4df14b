"""The commands of `livebalance`. Each is imported when it runs, because it needs what others do not."""

from importlib.metadata import version
from pkgutil import resolve_name
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

# A function or a group of commands, below livebalance.cli, and the first paragraph of its help.
_COMMANDS = {
    "status": (
        "inspection.status:status",
        "Show the services, the lanes with their lag and owner, the epoch, the quarantine and disputes.",
    ),
    "doctor": (
        "inspection.doctor:doctor",
        "Check what the services need: servers, rights, schema, topics, retention, clocks and lanes.",
    ),
    "explain": (
        "inspection.explain:explain",
        "Explain a transfer, for each account that lists it: record, transaction, revision, delta and times.",
    ),
    "watch": (
        "inspection.watch:watch",
        "Watch accounts live: a line per change, and per event that makes a shown balance stale.",
    ),
    "rebuild": (
        "rebuild.command:rebuild",
        "Replay Kafka into a database of its own, and compare it with the projection.",
    ),
    "verify": (
        "rebuild.command:verify",
        "Verify the projection: replay Kafka into a database of its own, and compare. It changes nothing.",
    ),
    "erase": (
        "projection.erase:erase",
        "Erase an account: its balance, and all its transfers that Kafka has now. This cannot be undone.",
    ),
    "produce": (
        "produce.command:produce",
        "Write transfers to Kafka: from a file, from the arguments, or at random.",
    ),
    "check": ("topics.command:app", "Check the source topics."),
    "config": ("config:app", "Check the settings of the services."),
    "epoch": ("inspection.lists:epoch", "Show and change the epoch of the projection."),
    "export": ("export.export:app", "Export balances and transfers."),
    "lane": (
        "inspection.lanes:lane",
        "List lanes (a partition of both topics), and decide about a halted lane.",
    ),
    "quarantine": ("inspection.quarantined:quarantine", "List and replay rejected records."),
    "token": ("inspection.token:app", "Make tokens, and show what a token says."),
    "protocol": ("protocol.command:app", "Check a gateway or a client against docs/protocol.md."),
    "revoke": (
        "inspection.lists:revoke",
        "Revoke tokens, or their access to an account, within 5 seconds."
        " A token must match all given options.",
    ),
}


def load(name: str) -> Any:
    """Imports a command, and returns it as a TyperCommand or a TyperGroup."""
    command = resolve_name(f"livebalance.cli.{_COMMANDS[name][0]}")
    root = typer.Typer()
    if isinstance(command, typer.Typer):
        root.add_typer(command, name=name)
    else:
        root.command(name)(command)
    return typer.main.get_group(root).commands[name]


class _LazyGroup(TyperGroup):
    """Has the name and the first paragraph of each command. It imports the command that runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands.update({name: TyperCommand(name, help=text) for name, (_, text) in _COMMANDS.items()})

    def resolve_command(self, context: Any, arguments: list[str]) -> tuple[str | None, Any, list[str]]:
        """Returns the command that the arguments name, and its arguments."""
        name, _, rest = super().resolve_command(context, arguments)
        return name, name and load(name), rest


app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


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
