"""The scripted dialogues of the socket, which every gateway and every client passes (dialogues/README.md)."""

import json
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).with_name("dialogues")

Frame = dict[str, Any]
Step = dict[str, Any]  # of one key


class Dialogue(NamedTuple):
    name: str
    follows: list[str]
    tokens: dict[str, Any]  # what each opens, or why it is none
    steps: list[Step]


def dialogues(root: Path = ROOT) -> list[Dialogue]:
    told = [one for file in sorted(root.glob("*.json")) for one in json.loads(file.read_text())["dialogues"]]
    named = {one["name"]: one for one in told}
    assert len(named) == len(told)
    return [
        Dialogue(
            one["name"],
            one.get("follows", ["acc-1"]),
            one.get("tokens", {}),
            [*(named[one["after"]]["steps"] if "after" in one else []), *one["steps"]],
        )
        for one in told
    ]
