"""Removes secrets from log values, and cuts long values."""

import re
from collections.abc import Mapping
from typing import Any

MAX_TEXT = 200  # characters of a value
MAX_TRACE = 20_000  # characters of a traceback
MAX_DEPTH = 4  # levels of a nested value; deeper levels become "…"

HIDDEN = "[redacted]"

_SECRET_KEYS = re.compile(r"authorization|cookie|token|password|secret|query", re.IGNORECASE)
_PATTERNS = (
    # name: value, name=value, ('name', 'value'), also as the repr of bytes; up to the closing quote
    (
        re.compile(r"((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[,:=]\s*b?['\"]?)[^'\"\r\n]+", re.I),
        r"\1\2",
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.I), r"\1 "),
    (re.compile(r"((?:token|password|secret|api_?key)['\"]?\s*[:=]\s*b?['\"]?)[^'\"\s&;,}]+", re.I), r"\1"),
    (re.compile(r"\beyJ[\w-]{4,}(?:\.[\w-]*){1,4}"), ""),  # a JWT: its header is JSON in base64
    (re.compile(r"\?[^\s'\"?]*=[^\s'\"]*"), "?"),  # a query string
    (re.compile(r"(\w://)[^\s/@'\"]+@"), r"\1@"),  # user and password in a URL
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # a lone surrogate cannot be encoded


def text(value: str, limit: int = MAX_TEXT) -> str:
    """Returns `value` without secrets, cut to `limit` characters.

    Secrets are removed before the cut, because half a secret would still be a secret.
    """
    value = value[: 10 * limit]
    for pattern, prefix in _PATTERNS:
        value = pattern.sub(prefix + HIDDEN, value)
    return value if len(value) <= limit else value[: limit - 1] + "…"


def one_line(value: str) -> str:
    """Returns `value` with control characters escaped as in JSON, so that it cannot forge a log line."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", value)


def value(given: Any, depth: int = MAX_DEPTH) -> Any:
    """Returns a log value of any type without secrets. Nested values are kept for `depth` levels."""
    if given is None or isinstance(given, bool | int | float):
        return given
    if depth == 0:
        return "…"
    if isinstance(given, Mapping):
        return {
            text(str(key)): HIDDEN if _SECRET_KEYS.search(str(key)) else value(item, depth - 1)
            for key, item in given.items()
        }
    if isinstance(given, list | tuple | set | frozenset):
        return [value(item, depth - 1) for item in given]
    return text(given if isinstance(given, str) else repr(given))
