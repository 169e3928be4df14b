"""The links of a document in Markdown, and the anchors that its headings make on the repository's host."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)[^)]*\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def links(text: str) -> Iterator[str]:
    """Targets that are in this repository, also of pictures."""
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        if not _ELSEWHERE.match(target):
            yield target


def anchors(text: str) -> set[str]:
    found, seen = set[str](), Counter[str]()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\]\([^)]*\)", "", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def broken(document: Path, root: Path) -> list[str]:
    """The links that lead nowhere, or out of the repository."""
    return [link for link in links(document.read_text()) if not _leads(document, link, root)]


def _leads(document: Path, link: str, root: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.is_relative_to(root) or not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target.read_text()))
