"""The commands of `livebalance`, and the repeatable option --transfer, which has three values."""

import pytest
import typer

from livebalance.cli.commands import app, join_transfers, load


@pytest.mark.parametrize(
    ("arguments", "joined"),
    [
        ([], []),
        (["--transfer", "a", "b", "-12.50", "--json"], ["--transfer=a,b,-12.50", "--json"]),
        (
            ["--transfer", "a", "b", "1", "--transfer", "c", "d", "2"],
            ["--transfer=a,b,1", "--transfer=c,d,2"],
        ),
        (["--transfer", "a", "b"], ["--transfer", "a", "b"]),
        (["--transfer=a,b,1"], ["--transfer=a,b,1"]),
    ],
)
def test_transfer_option_with_three_values_is_joined(arguments: list[str], joined: list[str]) -> None:
    assert join_transfers(arguments) == joined


@pytest.mark.parametrize(("name", "listed"), typer.main.get_group(app).commands.items())
def test_command_is_listed_with_the_first_paragraph_of_its_help(
    name: str, listed: typer.core.TyperCommand
) -> None:
    command = load(name)
    assert command.name == name
    assert listed.help == " ".join(command.help.split("\n\n")[0].split())
