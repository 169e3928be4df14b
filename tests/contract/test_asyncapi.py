"""docs/asyncapi.json is valid AsyncAPI, and its schemas accept valid frames and no others."""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from livebalance.stack.build.node import WEB
from livebalance.stack.paths import PROJECT
from livebalance.wire.close import CloseCode
from livebalance.wire.strict_json import StrictError, check_strict
from tests.contract.dialogue import dialogues
from tests.contract.vectors import Vector, label, vectors

FILE = PROJECT / "docs" / "asyncapi.json"
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text())
MESSAGES: dict[str, dict[str, Any]] = DOCUMENT["components"]["messages"]
VECTORS = vectors("frames")
VALID = [*VECTORS["client"], *VECTORS["server"]]
STEPS = [item for dialogue in dialogues() for step in dialogue.steps for item in step.items()]


@pytest.fixture(scope="module")
def specification() -> Any:
    """AsyncAPI's schema of documents. Without it the test is skipped; in CI it fails."""
    path = WEB / "node_modules/@asyncapi/specs/schemas" / f"{DOCUMENT['asyncapi']}.json"
    if not path.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("left out: `make check` installs the schema")
    return json.loads(path.read_text())


def fits(frame: dict[str, Any]) -> bool:
    """Returns whether a frame matches the schema of its type."""
    message = MESSAGES.get(str(frame.get("type")))
    if message is None:
        return False
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft7Validator(schema, validate_formats=True).is_valid(frame)


def unambiguous(cases: list[Vector]) -> Iterator[Any]:
    """Yields the cases that are unambiguous JSON, because a schema cannot reject ambiguous JSON."""
    for case in cases:
        try:
            check_strict(case["text"])
        except StrictError:
            continue
        yield pytest.param(json.loads(case["text"]), id=label(case))


def test_document_is_valid_asyncapi(specification: Any) -> None:
    jsonschema_rs.validate(specification, DOCUMENT)
    for part in ("channels", "operations"):
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(specification, {**DOCUMENT, part: {"x": {"messages": 1}}})


def test_every_message_has_a_summary_and_valid_examples() -> None:
    for tag, message in MESSAGES.items():
        assert message["summary"], tag
        assert message["examples"], tag
        for example in message["examples"]:
            assert example["payload"]["type"] == tag
            assert fits(example["payload"]), example["name"]


@pytest.mark.parametrize("case", VALID, ids=label)
def test_valid_frame_matches_its_schema(case: Vector) -> None:
    assert fits(json.loads(case["text"]))


def test_frames_of_the_dialogues_match_their_schemas() -> None:
    frames = [frame for kind, frame in STEPS if kind in ("client", "server", "lost")]
    assert len(frames) > 100
    assert [frame for frame in frames if not fits(frame)] == []


@pytest.mark.parametrize(
    "frame", [*unambiguous(VECTORS["client_invalid"]), *unambiguous(VECTORS["server_invalid"])]
)
def test_invalid_frame_does_not_match_its_schema(frame: Any) -> None:
    assert not isinstance(frame, dict) or not fits(frame)


def changed(name: str, **wrong: Any) -> Any:
    """A frame of the vectors with a value that no gateway sends."""
    (frame,) = (case["means"] for case in VECTORS["server"] if case["name"] == name)
    for path, value in wrong.items():
        node = frame = json.loads(json.dumps(frame))
        *outer, last = path.split("__")
        for key in outer:
            node = node[int(key) if key.isdigit() else key]
        assert last in node
        node[last] = value
    return pytest.param(frame, id=f"{name} {wrong}")


@pytest.mark.parametrize(
    "frame",
    [
        *(
            changed("snapshot", balance__amount=amount)
            for amount in (1012.5, "1e3", "+1", "01", ".5", "-0", "-0.00")
        ),
        *(
            changed("snapshot", as_of=time)
            for time in ("2026-11-24 17:20", "2026-11-24T17:20:01Z", "2026-02-30T17:20:01.000Z")
        ),
        *(changed("snapshot", revision=number) for number in (-1, 2**53, "114", 1.5)),
        changed("snapshot", epoch="9F86D081884C7D65"),
        changed("snapshot", channel="acc-0001"),
        changed("snapshot", transfers__0__id=""),
        changed("snapshot", transfers__0__source="transfers/3"),
        changed("snapshot that names a gap", gap__from="114"),
        changed("delta", to=None),
        changed("status live", state="dead"),
    ],
)
def test_frame_with_an_invalid_value_does_not_match_its_schema(frame: Any) -> None:
    assert not fits(frame)


def test_references_lead_to_a_definition() -> None:
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', FILE.read_text()):
        node = DOCUMENT
        for key in reference.split("/"):
            node = node[key]


def test_every_close_code_is_listed() -> None:
    assert {close["code"] for close in DOCUMENT["channels"]["socket"]["x-close-codes"]} == set(CloseCode)
