"""What a text points to exists: a page and its heading, a decision, a file."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.stack.paths import PROJECT
from tests.unit.docs.links import anchors

TEXTS = (
    "*.py",
    "*.ts",
    "*.md",
    "*.sql",
    "*.yml",
    "*.yaml",
    "*.tpl",
    "*.toml",
    "*.html",
    "Makefile",
    "*Dockerfile*",
    "*Caddyfile",
)
FOLDERS = ("libs", "services", "tests", "docs", "deploy", "scripts")
PAGE = re.compile(r"\bdocs/[\w./-]+?\.md(?:#[\w-]+)?")
DECISION = re.compile(r"\b[Dd]ecisions? (\d+)(?: and (\d+))?\b")
# A path between backquotes; `…` and `<name>` stand for something else.
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]+)`")
DESIGN = re.compile(r"\(design\b|\bthe design's\b|\bdesign(?:\.md|, rule)", re.IGNORECASE)


def texts() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *TEXTS]
    listed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=120)
    names = sorted(name for name in listed.stdout.split("\0") if name and (PROJECT / name).is_file())
    return [name for name in names if name != str(Path(__file__).relative_to(PROJECT))]


def dangling(text: str) -> Iterator[str]:
    """Yields each pointer of `text` that leads nowhere."""
    for pointer in PAGE.findall(text):
        path, _, anchor = pointer.partition("#")
        page = PROJECT / path
        if not page.exists() or (anchor and anchor not in anchors(page.read_text())):
            yield pointer
    decisions = {int(path.name[:4]) for path in (PROJECT / "docs" / "decisions").glob("0*.md")}
    for match in DECISION.finditer(text):
        if not {int(number) for number in match.groups() if number} <= decisions:
            yield match[0]
    for path in PATH.findall(text):
        if not (PROJECT / path).exists():
            yield path
    yield from DESIGN.findall(text)


def test_pointers_in_the_repository_lead_somewhere() -> None:
    found = {name: list(dangling((PROJECT / name).read_text())) for name in texts()}
    assert {name: pointers for name, pointers in found.items() if pointers} == {}


@pytest.mark.parametrize(
    "text",
    [
        "see docs/nowhere.md",
        "see docs/guarantees.md#no-such-heading",
        "see decision 99",
        "see decisions 1 and 99",
        "in `libs/wire/nowhere.py`",
        "as it is (design, rule of locks)",
    ],
)
def test_pointer_to_nothing_is_found(text: str) -> None:
    assert list(dangling(text)) != []


def test_pointers_that_exist_are_not_reported() -> None:
    text = "docs/guarantees.md#fence, decision 13, decisions 1 and 2, `libs/wire` and RFC 9110 §8.8.3"
    assert list(dangling(text)) == []
