"""The repeatable option --transfer, which has three values."""

import pytest

from livebalance.cli.commands import join_transfers


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
