"""Who understood the release before understands today's gateway: it says all that was recorded then."""

from typing import Any

from livebalance.stack.paths import PROJECT
from tests.contract.dialogue import ROOT, Frame, dialogues
from tests.contract.test_dialogues_of_gateway import Gateway
from tests.previous import Previous


class Newer(Gateway):
    """It may say more than was recorded: unknown fields are ignored."""

    def agree(self, written: Frame, said: Frame) -> bool:
        return _within(written, said)


def _within(known: Any, said: Any) -> bool:
    if isinstance(known, dict):
        return isinstance(said, dict) and all(
            key in said and (_within(known[key], said[key]) or _is_cursor(key, known[key], said[key]))
            for key in known
        )
    if isinstance(known, list):
        return isinstance(said, list) and len(known) == len(said) and all(map(_within, known, said))
    return bool(known == said)


def _is_cursor(key: str, known: Any, said: Any) -> bool:
    """Returns whether both are cursors: they are opaque to clients, and have another format now."""
    return key == "cursor" and isinstance(known, str) and isinstance(said, str)


def test_the_gateway_says_what_was_written_then(previous: Previous) -> None:
    for dialogue in dialogues(previous.root / ROOT.relative_to(PROJECT)):
        gateway = Newer(dialogue)
        for step in [*dialogue.steps, {"end": None}]:
            gateway.play(step)
