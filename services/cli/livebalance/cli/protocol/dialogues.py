"""Loads the scripted dialogues that every gateway and every client must pass."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from livebalance.stack.paths import PROJECT

ROOT = PROJECT / "tests" / "contract" / "dialogues"  # its README describes the steps

Frame = dict[str, Any]
Step = dict[str, Any]  # with one key


class Dialogue(NamedTuple):
    """A dialogue with all its steps."""

    name: str
    follows: list[str]  # accounts that the client follows
    sets: list[str]  # sets that the client follows
    features: list[str]  # that the client asks for
    tokens: dict[str, Any]  # rights of each token, or why the token is rejected
    steps: list[Step]
    about: str


def dialogues(root: Path = ROOT) -> list[Dialogue]:
    """Returns the dialogues in the files of a folder. The steps of `after` come before a dialogue's own."""
    scripts = [
        script for file in sorted(root.glob("*.json")) for script in json.loads(file.read_text())["dialogues"]
    ]
    by_name = {script["name"]: script for script in scripts}
    assert len(by_name) == len(scripts), "names are unique"
    return [
        Dialogue(
            script["name"],
            script.get("follows", ["acc-1"]),
            script.get("sets", []),
            script.get("features", []),
            script.get("tokens", {}),
            [*(by_name[script["after"]]["steps"] if "after" in script else []), *script["steps"]],
            script["about"],
        )
        for script in scripts
    ]
