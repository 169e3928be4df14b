"""The dialogues leave nothing out: what is new in the protocol has to be said in one of them."""

import re
from typing import Any, get_args

import pytest

from livebalance.wire.close import CloseCode
from livebalance.wire.frame import ClientFrame, ErrorCode, ServerFrame, SnapshotReason
from tests.contract.dialogue import ROOT, dialogues

STEPS = [next(iter(step.items())) for one in dialogues() for step in one.steps]
# The first column of its table.
DESCRIBED = {
    kind
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("| `")
    for kind in re.findall(r"`(\w+)`", line.split("|")[1])
}
OF_HTTP = {"not_yet", "token_in_url"}


def said(kind: str, field: str, **fields: Any) -> set[Any]:
    """The values of a field in the steps of a kind."""
    steps = (what for one, what in STEPS if one == kind and fields.items() <= what.items())
    return {what[field] for what in steps if field in what}


def tags(frames: Any) -> set[str]:
    return {str(kind.__struct_config__.tag) for kind in get_args(frames)}


def test_every_type_of_frame_occurs() -> None:
    assert said("server", "type") == tags(ServerFrame)
    assert said("client", "type") == tags(ClientFrame)


def test_every_code_of_a_close_occurs() -> None:
    assert said("close", "code") == {*CloseCode, 1006}


def test_every_reason_of_a_snapshot_occurs() -> None:
    assert said("server", "reason", type="snapshot") == set(get_args(SnapshotReason))


def test_every_error_occurs() -> None:
    codes = said("server", "code", type="error") | said("server", "code", type="unsubscribed")
    assert codes - {"revoked"} == set(get_args(ErrorCode)) - OF_HTTP


def test_every_kind_of_step_occurs_and_is_described() -> None:
    assert {kind for kind, _ in STEPS} == DESCRIBED


@pytest.mark.parametrize("file", sorted(ROOT.glob("*.json")), ids=lambda file: file.stem)
def test_the_page_plays_every_file(file: Any) -> None:
    """What it bundles has to be named."""
    spec = ROOT.parents[2] / "services/web/src/app/connection/dialogues.spec.ts"
    assert f"/tests/contract/dialogues/{file.name}'" in spec.read_text()
