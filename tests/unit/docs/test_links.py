"""Links in documents lead to existing files and headings."""

import subprocess
from pathlib import Path

import pytest

from livebalance.stack.paths import PROJECT
from tests.unit.docs.links import anchors, broken_links

_LIST_FILES = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "*.md"]


def documents() -> list[str]:
    result = subprocess.run(_LIST_FILES, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=120)
    return sorted(name for name in result.stdout.split("\0") if name and (PROJECT / name).exists())


@pytest.mark.parametrize("name", documents())
def test_links_of_a_document_have_targets(name: str) -> None:
    assert broken_links(PROJECT / name, PROJECT) == []


def test_documents_are_found() -> None:
    assert {"README.md", "docs/guarantees.md"} <= set(documents())


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text(
        "# Settings, and `names`\n```sh\n# no heading\n```\n## Settings, and names\n"
    )
    document = tmp_path / "one.md"
    document.write_text(
        "[a](other.md) [b](other.md#settings-and-names-1) ![c](none.png)\n"
        "[d](other.md#no-heading) [e](#here) [f](../outside.md)\n"
        "[g](https://example.org/x) `[h](code.md)`\n\n```\n[i](fenced.md)\n```\n## Here\n"
    )
    assert broken_links(document, tmp_path) == ["none.png", "other.md#no-heading", "../outside.md"]


def test_anchors_are_those_of_github() -> None:
    text = "# A & B\n## `/ws`: it, *here*\n### [Linked](x.md) words\n"
    assert anchors(text) == {"a--b", "ws-it-here", "linked-words"}
