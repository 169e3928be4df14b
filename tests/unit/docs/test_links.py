"""Whoever follows a link of a document arrives."""

import subprocess
from pathlib import Path

import pytest

from livebalance.stack.paths import PROJECT
from tests.unit.docs.links import anchors, broken

_LISTED = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]


def documents() -> list[str]:
    listed = subprocess.run(_LISTED, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=30)
    return sorted(name for name in listed.stdout.split("\0") if name and (PROJECT / name).exists())


@pytest.mark.parametrize("name", documents())
def test_every_link_leads_somewhere(name: str) -> None:
    assert broken(PROJECT / name, PROJECT) == []


def test_there_are_documents() -> None:
    assert {"README.md", "docs/guarantees.md"} <= set(documents())


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text(
        "# Who you are, and `what`\n```sh\n# no heading\n```\n## Who you are, and what\n"
    )
    document = tmp_path / "one.md"
    document.write_text(
        "[a](other.md) [b](other.md#who-you-are-and-what-1) ![c](none.png)\n"
        "[d](other.md#no-heading) [e](#here) [f](../outside.md)\n"
        "[g](https://example.org/x) `[h](code.md)`\n\n```\n[i](fenced.md)\n```\n## Here\n"
    )
    assert broken(document, tmp_path) == ["none.png", "other.md#no-heading", "../outside.md"]


def test_anchors_are_those_of_the_host() -> None:
    text = "# A & B\n## `/ws`: it, *here*\n### [Linked](x.md) words\n"
    assert anchors(text) == {"a--b", "ws-it-here", "linked-words"}
