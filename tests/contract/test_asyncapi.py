"""docs/asyncapi.json is AsyncAPI, and true: what is said fits its schemas, what is refused does not."""

import json
import os
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
TAKEN = [*VECTORS["client"], *VECTORS["server"]]
SAID = [(kind, what) for one in dialogues() for step in one.steps for kind, what in step.items()]


@pytest.fixture(scope="module")
def specification() -> Any:
    """AsyncAPI's own schema of documents. Without it the test is left out, and says so; in CI it fails."""
    path = WEB / "node_modules/@asyncapi/specs/schemas" / f"{DOCUMENT['asyncapi']}.json"
    if not path.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            "left out: `make check` installs what it needs"
        )
    return json.loads(path.read_text())


def fits(frame: dict[str, Any]) -> bool:
    """Whether it is as the document tells of its type."""
    message = MESSAGES.get(str(frame.get("type")))
    if message is None:
        return False
    schema = {**message["payload"], "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft7Validator(schema, validate_formats=True).is_valid(frame)


def plain(cases: list[Vector]) -> Iterator[Any]:
    """Those that are JSON which every reader reads alike: of the others no schema can tell."""
    for case in cases:
        try:
            check_strict(case["text"])
        except StrictError:
            continue
        yield pytest.param(json.loads(case["text"]), id=label(case))


def test_it_is_asyncapi(specification: Any) -> None:
    jsonschema_rs.validate(specification, DOCUMENT)
    for part in ("channels", "operations"):
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(specification, {**DOCUMENT, part: {"x": {"messages": 1}}})


def test_every_frame_has_words_and_an_example_that_fits() -> None:
    for tag, message in MESSAGES.items():
        assert message["summary"], tag
        assert message["examples"], tag
        for example in message["examples"]:
            assert example["payload"]["type"] == tag
            assert fits(example["payload"]), example["name"]


@pytest.mark.parametrize("case", TAKEN, ids=label)
def test_a_frame_that_is_taken_fits(case: Vector) -> None:
    assert fits(json.loads(case["text"]))


def test_what_is_said_in_a_dialogue_fits() -> None:
    told = [what for kind, what in SAID if kind in ("client", "server", "lost")]
    assert len(told) > 100
    assert [frame for frame in told if not fits(frame)] == []


@pytest.mark.parametrize("frame", [*plain(VECTORS["client_invalid"]), *plain(VECTORS["server_invalid"])])
def test_what_is_refused_for_its_form_does_not_fit(frame: Any) -> None:
    assert not isinstance(frame, dict) or not fits(frame)


def planted(name: str, **wrong: Any) -> Any:
    """A frame of the vectors with one value that is never sent."""
    (frame,) = (case["means"] for case in VECTORS["server"] if case["name"] == name)
    for path, value in wrong.items():
        part = frame = json.loads(json.dumps(frame))
        *outer, last = path.split("__")
        for key in outer:
            part = part[int(key) if key.isdigit() else key]
        assert last in part
        part[last] = value
    return pytest.param(frame, id=f"{name} {wrong}")


@pytest.mark.parametrize(
    "frame",
    [
        *(
            planted("snapshot", balance__amount=amount)
            for amount in (1012.5, "1e3", "+1", "01", ".5", "-0", "-0.00")
        ),
        *(
            planted("snapshot", as_of=time)
            for time in ("2026-11-24 17:20", "2026-11-24T17:20:01Z", "2026-02-30T17:20:01.000Z")
        ),
        *(planted("snapshot", revision=number) for number in (-1, 2**53, "114", 1.5)),
        planted("snapshot", epoch="9F86D081884C7D65"),
        planted("snapshot", channel="acc-0001"),
        planted("snapshot", transfers__0__id=""),
        planted("snapshot", transfers__0__source="transfers/3"),
        planted("snapshot that names a gap", gap__from="114"),
        planted("delta", to=None),
        planted("status live", state="dead"),
    ],
)
def test_a_frame_that_is_never_sent_does_not_fit(frame: Any) -> None:
    assert not fits(frame)


def test_every_code_of_a_close_is_told() -> None:
    assert {one["code"] for one in DOCUMENT["channels"]["socket"]["x-close-codes"]} == set(CloseCode)
