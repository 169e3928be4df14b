"""A position as the entity tag of what was shown at it (RFC 9110, 8.8.3)."""

import re
from collections.abc import Iterable

from livebalance.wire.identity import Position

_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def etag(at: Position) -> str:
    return f'"{at.epoch}:{at.revision}"'


def weak(tag: str) -> str:
    """Of what may be told otherwise at the same position: an account also tells how fresh it is."""
    return f"W/{tag}"


def has(if_none_match: Iterable[str], tag: str) -> bool:
    """Whether a client says that it has what is tagged so: If-None-Match, by weak comparison (13.1.2)."""
    told = ",".join(if_none_match)
    bare = tag.removeprefix("W/")
    return told.strip() == "*" or any(one == bare for one in _TAG.findall(told))
