"""What never stands in a log: secrets, and more of a stranger's text than it takes to recognise it."""

import re
from collections.abc import Mapping
from typing import Any

MAX_TEXT = 200  # characters of one value
MAX_TRACE = 20_000  # of a traceback
MAX_DEPTH = 4  # levels of a value; deeper ones are left out

HIDDEN = "[redacted]"

_SECRET_KEYS = re.compile(r"authorization|cookie|token|password|secret|query", re.IGNORECASE)
_PATTERNS = (
    # name: value, name=value, ('name', 'value'), also as the repr of bytes; to the end of what is quoted
    (
        re.compile(r"((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[,:=]\s*b?['\"]?)[^'\"\r\n]+", re.I),
        r"\1\2",
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.I), r"\1 "),
    (re.compile(r"((?:token|password|secret|api_?key)['\"]?\s*[:=]\s*b?['\"]?)[^'\"\s&;,}]+", re.I), r"\1"),
    (re.compile(r"\beyJ[\w-]{4,}(?:\.[\w-]*){1,4}"), ""),  # a JWT: its head is JSON in base64
    (re.compile(r"\?[^\s'\"?]*=[^\s'\"]*"), "?"),  # a query string
    (re.compile(r"(\w://)[^\s/@'\"]+@"), r"\1@"),  # who logs in at a URL
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def text(value: str, limit: int = MAX_TEXT) -> str:
    """Without secrets, and cut to `limit` characters. Secrets go first: half of one is one, too."""
    value = value[: 10 * limit]
    for pattern, kept in _PATTERNS:
        value = pattern.sub(kept + HIDDEN, value)
    return value if len(value) <= limit else value[: limit - 1] + "…"


def one_line(value: str) -> str:
    """Control characters as JSON writes them: nobody can forge a line of a log that is not JSON."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", value)


def value(given: Any, depth: int = MAX_DEPTH) -> Any:
    """The same without secrets, of whatever a line of a log holds."""
    if given is None or isinstance(given, bool | int | float):
        return given
    if depth == 0:
        return "…"
    if isinstance(given, Mapping):
        return {
            text(str(key)): HIDDEN if _SECRET_KEYS.search(str(key)) else value(one, depth - 1)
            for key, one in given.items()
        }
    if isinstance(given, list | tuple | set | frozenset):
        return [value(one, depth - 1) for one in given]
    return text(given if isinstance(given, str) else repr(given))
