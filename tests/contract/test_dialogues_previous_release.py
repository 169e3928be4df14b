"""Clients of the previous release understand this gateway: it plays the dialogues of that release."""

from typing import Any

from livebalance.stack.paths import PROJECT
from tests.contract.dialogue import ROOT, Frame, dialogues
from tests.contract.test_dialogues_gateway import Gateway
from tests.previous import Previous

# Step kinds that have another name since that release. Remove them when a newer release is pinned.
RENAMED = {"truth": "stored", "wrong": "raw", "comes_back": "reconnects", "others": "other_connections"}


class NewerGateway(Gateway):
    """May send more than the previous release recorded, because clients ignore unknown fields."""

    def matches(self, expected: Frame, sent: Frame) -> bool:
        return _contains(sent, expected)


def _contains(sent: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(sent, dict) and all(
            key in sent
            and (_contains(sent[key], expected[key]) or _may_differ(key, sent[key], expected[key]))
            for key in expected
        )
    if isinstance(expected, list):
        return isinstance(sent, list) and len(sent) == len(expected) and all(map(_contains, sent, expected))
    return bool(sent == expected)


def _may_differ(key: str, sent: Any, expected: Any) -> bool:
    """Returns whether clients must not depend on a value: cursors are opaque, messages are for people."""
    return key in ("cursor", "message") and isinstance(sent, str) and isinstance(expected, str)


def test_gateway_sends_what_the_previous_release_recorded(previous: Previous) -> None:
    for dialogue in dialogues(previous.root / ROOT.relative_to(PROJECT)):
        gateway = NewerGateway(dialogue)
        for step in [*dialogue.steps, {"end": None}]:
            [(kind, value)] = step.items()
            gateway.play({RENAMED.get(kind, kind): value})
