"""What JSON of a stranger has to be before anyone reads it.

A reader of JSON may silently take the last of two equal keys, or round a number: two readers of one text
could then see two messages. Such a text is refused as a whole.
"""

import json
from typing import Any

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import MAX_REVISION

MAX_DEPTH = 16
_MAX_DIGITS = len(str(MAX_REVISION))
_FORBIDDEN = "__proto__"  # a key that changes what an object is, in JavaScript


class StrictError(DecodeError):
    """Not JSON, or JSON that not every reader reads alike."""


def check(text: bytes | str) -> None:
    """Raises StrictError for what is no JSON, an equal key twice in one object, the key `__proto__`, a number
    beyond 2^53, NaN, Infinity, or more than 16 levels.
    """
    try:
        value = _decoder.decode(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as cause:
        raise StrictError("not JSON that every reader reads alike") from cause
    if _is_deep(value):
        raise StrictError("too deep")


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        inside: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inside.extend(one.values())
            elif isinstance(one, list):
                inside.extend(one)
        if not (level := [one for one in inside if isinstance(one, dict | list)]):
            return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) or _FORBIDDEN in found:
        raise StrictError("keys")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS + 1 or abs(value := int(digits)) > MAX_REVISION:
        raise StrictError("number")
    return value


def _fraction(digits: str) -> float:
    if abs(value := float(digits)) > MAX_REVISION:
        raise StrictError("number")
    return value


def _constant(name: str) -> float:
    raise StrictError(name)


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
