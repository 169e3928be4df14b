"""Extracts the links of Markdown documents, and the anchors that GitHub makes of headings."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)[^)]*\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def links(text: str) -> Iterator[str]:
    """Yields the targets of links and pictures, except external URLs."""
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", text))):
        if not _EXTERNAL.match(target):
            yield target


def anchors(text: str) -> set[str]:
    """Returns the anchors of all headings."""
    result, counts = set[str](), Counter[str]()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        words = re.sub(r"\]\([^)]*\)", "", heading)
        name = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        result.add(f"{name}-{counts[name]}" if counts[name] else name)
        counts[name] += 1
    return result


def broken_links(document: Path, root: Path) -> list[str]:
    """Returns the links whose target does not exist, or is outside of the repository."""
    return [link for link in links(document.read_text()) if not _exists(document, link, root)]


def _exists(document: Path, link: str, root: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = (document.parent / path).resolve() if path else document
    if not target.is_relative_to(root) or not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors(target.read_text()))
