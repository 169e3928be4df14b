"""Rejects JSON that two parsers could read differently.

A parser may silently use the last of two equal keys, or round a large number. Two readers of such a text
would see different messages, so the gateway rejects the whole text.
"""

import json
from typing import Any

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION

MAX_DEPTH = 16
_MAX_DIGITS = len(str(MAX_REVISION))
_FORBIDDEN = "__proto__"  # in JavaScript, assigning this key replaces an object's prototype


class StrictError(DecodeError):
    """Text that is not JSON, or that parsers may read differently."""


def check_strict(text: bytes | str) -> None:
    """Checks that every JSON parser reads `text` in the same way.

    Raises:
        StrictError: `text` is not JSON, or has a duplicate key in an object, the key `__proto__`, a number
            beyond 2^53, NaN, Infinity, or more than 16 levels.
    """
    try:
        value = _decoder.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as cause:
        raise StrictError("not JSON, or ambiguous JSON") from cause
    if _is_deep(value):
        raise StrictError("more than 16 levels")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        children: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                children.extend(node.values())
            elif isinstance(node, list):
                children.extend(node)
        if not (level := [child for child in children if isinstance(child, dict | list)]):
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs) or _FORBIDDEN in members:
        raise StrictError("duplicate or forbidden key")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS + 1 or abs(value := int(digits)) > MAX_REVISION:
        raise StrictError("number beyond 2^53")
    return value


def _fraction(digits: str) -> float:
    if abs(value := float(digits)) > MAX_REVISION:
        raise StrictError("number beyond 2^53")
    return value


def _constant(name: str) -> float:
    raise StrictError(f"{name} is not JSON")


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
