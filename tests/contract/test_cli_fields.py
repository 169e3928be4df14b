"""docs/cli.md lists the fields of every command that prints JSON.

Integration tests compare the fields with what each command prints (tests/integration/cli/json_fields.py).
"""

import pytest

from scripts.cli_docs import JSON_FIELDS, commands, root
from tests.integration.cli.json_fields import assert_listed


def test_every_command_with_the_option_json_has_its_fields_listed() -> None:
    printing = {
        name
        for name, command in commands(root())
        if any("--json" in getattr(parameter, "opts", ()) for parameter in command.params)
    }
    assert printing == set(JSON_FIELDS)


@pytest.mark.parametrize(
    "output",
    ['{"epoch": "a", "known_server": true}', '{"epoch": "a", "known_server": true, "changes": [{"at": ""}]}'],
    ids=["missing field", "missing field of a list"],
)
def test_output_with_other_fields_is_reported(output: str) -> None:
    with pytest.raises(AssertionError, match="epoch show"):
        assert_listed(["epoch", "show", "--json"], output)
