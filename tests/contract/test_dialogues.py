"""Together the dialogues contain every frame type, close code, error and step of the protocol."""

import re
from typing import Any, get_args

import pytest

from livebalance.wire.close import CloseCode
from livebalance.wire.frame import ClientFrame, ErrorCode, ServerFrame, SetSnapshotReason, SnapshotReason
from tests.contract.dialogue import ROOT, dialogues

STEPS = [next(iter(step.items())) for dialogue in dialogues() for step in dialogue.steps]
# The step kinds in the first column of the README's table.
DESCRIBED = {
    kind
    for line in (ROOT / "README.md").read_text().splitlines()
    if line.startswith("| `")
    for kind in re.findall(r"`(\w+)`", line.split("|")[1])
}
HTTP_ONLY = {"not_yet", "token_in_url"}


def values(kind: str, field: str, **fields: Any) -> set[Any]:
    """Returns the values of a field in all steps of a kind."""
    frames = (frame for step, frame in STEPS if step == kind and fields.items() <= frame.items())
    return {frame[field] for frame in frames if field in frame}


def tags(frames: Any) -> set[str]:
    return {str(kind.__struct_config__.tag) for kind in get_args(frames)}


def test_every_frame_type_occurs() -> None:
    assert values("server", "type") == tags(ServerFrame)
    assert values("client", "type") == tags(ClientFrame)


def test_every_close_code_occurs() -> None:
    assert values("close", "code") == {*CloseCode, 1006}


def test_every_snapshot_reason_occurs() -> None:
    assert values("server", "reason", type="snapshot") == set(get_args(SnapshotReason))
    assert values("server", "reason", type="set_snapshot") == set(get_args(SetSnapshotReason))


def test_every_error_code_occurs() -> None:
    codes = values("server", "code", type="error") | values("server", "code", type="unsubscribed")
    assert codes - {"revoked"} == set(get_args(ErrorCode)) - HTTP_ONLY


def test_every_step_kind_occurs_and_is_described() -> None:
    assert {kind for kind, _ in STEPS} == DESCRIBED


@pytest.mark.parametrize("file", sorted(ROOT.glob("*.json")), ids=lambda file: file.stem)
def test_tests_of_the_typescript_client_import_every_file(file: Any) -> None:
    spec = ROOT.parents[2] / "libs/ts-client/src/connection/dialogues.spec.ts"
    assert f"/tests/contract/dialogues/{file.name}'" in spec.read_text()
