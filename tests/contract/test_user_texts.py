"""Texts that a user reads follow the rules of CONTRIBUTING.md, as far as a machine can tell.

Those are the texts of settings, help, metrics and alerts, the messages of errors and closes, and log events.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from livebalance.runtime import metrics as shared_metrics
from livebalance.runtime.config.descriptions import describe_settings
from livebalance.runtime.config.environment import OTHER_VARIABLES, service_settings
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.stack.paths import PROJECT
from scripts import cli_docs
from scripts.metrics_docs import modules
from tests.contract.alerts import ALERTS

MAX_WORDS = 25  # of a sentence
LOG_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}

# A text that begins so has no subject, or needs the name beside it to be understood.
_FRAGMENT = re.compile(r"^(Of|At(?! least| most)|Between|After|To|Within|Who|Whoever|Whom|Whose|What|Told)\b")
_PRIVATE = re.compile(
    r"\b(whoever|whomever|told|tells|hears?|heard|rings?|doorbell|is away|are away|was away|hang(s|ing)? up|"
    r"turned away|come back|comes back|taken back|take back|of before|none of ours|"
    r"put aside|(this|that|it) is no)\b",
    re.IGNORECASE,
)
_EVENT = re.compile(r"^[a-zA-Z][\w'/ -]*$")


def faults(text: str) -> Iterator[str]:
    """Yields what is wrong with the prose of a text."""
    prose = re.sub(r"`[^`]*`", "x", text)
    for sentence in re.split(r"(?<=[.:;?!])\s+|\n\n", prose):
        if _FRAGMENT.match(sentence):
            yield f"a fragment: {sentence}"
        if len(sentence.split()) > MAX_WORDS:
            yield f"over {MAX_WORDS} words: {sentence}"
    yield from (f"not the field's word: {match[0]}" for match in _PRIVATE.finditer(prose))


def settings() -> Iterator[tuple[str, str]]:
    kinds: dict[str, type[ServiceSettings]] = {"all": ServiceSettings, **service_settings()}
    for service, kind in kinds.items():
        for field, text in describe_settings(kind).items():
            yield f"{service}.{field}", text
    yield from OTHER_VARIABLES.items()


def helps() -> Iterator[tuple[str, str]]:
    def of(name: str, command: Any) -> Iterator[tuple[str, str]]:
        yield name, command.help or ""
        for parameter in command.params:
            yield f"{name} {parameter.name}", getattr(parameter, "help", "") or ""
        for child, under in getattr(command, "commands", {}).items():
            yield from of(f"{name} {child}", under)

    yield from of("livebalance", cli_docs.root())


def metrics() -> Iterator[tuple[str, str]]:
    for module in (shared_metrics, *modules().values()):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                yield metric._name, metric._documentation


def alerts() -> Iterator[tuple[str, str]]:
    for alert in ALERTS:
        for annotation in ("summary", "description"):
            yield f"{alert.name} {annotation}", alert.annotations[annotation]


def closes() -> Iterator[tuple[str, str]]:
    from livebalance.wire.close import _MESSAGES

    yield from _MESSAGES.items()


@cache
def calls() -> dict[str, list[tuple[str, ast.Call]]]:
    """Returns the calls of `….name(…)` or `name(…)` in services and libraries by name, with their places."""
    by_name = defaultdict[str, list[tuple[str, ast.Call]]](list)
    for root in ("services", "libs"):
        for path in sorted((PROJECT / root).rglob("*.py")):
            if "node_modules" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    by_name[_called(node)].append((f"{path.relative_to(PROJECT)}:{node.lineno}", node))
    return by_name


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(node: ast.expr) -> str:
    """Returns a text of the code, with `x` for what is formatted into it."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def errors() -> Iterator[tuple[str, str]]:
    for kind in ("StartupError", "UserError", "StackError", "ProblemError", "Refusal"):
        for place, call in calls()[kind]:
            for argument in call.args:
                if " " in (text := _text(argument)):
                    yield place, text


def events() -> Iterator[tuple[str, str]]:
    for level in LOG_LEVELS:
        for place, call in calls()[level]:
            if ast.unparse(call.func).endswith(f"_log.{level}") and call.args:
                yield place, _text(call.args[0])


@pytest.mark.parametrize("texts", [settings, helps, metrics, alerts, closes, errors, events])
def test_texts_follow_the_rules(texts: "type[Iterator[tuple[str, str]]]") -> None:
    found = {name: list(faults(text)) for name, text in texts()}
    assert len(found) > 10
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("texts", [settings, helps, metrics])
def test_described_texts_are_sentences(texts: "type[Iterator[tuple[str, str]]]") -> None:
    wrong = {name: text for name, text in texts() if text and text[0].islower()}
    assert texts is settings or wrong == {}


def test_log_events_name_a_noun_and_what_happened() -> None:
    assert [(place, event) for place, event in events() if not _EVENT.match(event) or " " not in event] == []


@pytest.mark.parametrize(
    "text",
    [
        "Of this process: in its logs.",
        "Seconds. After the notice: over which clients are asked to leave.",
        "The most records that whoever owns the lane may read.",
        "postgres is away",
        " ".join(["word"] * 26),
    ],
)
def test_text_that_breaks_a_rule_is_found(text: str) -> None:
    assert list(faults(text)) != []
