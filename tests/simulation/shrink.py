"""Shortens a schedule that fails, by delta debugging (Zeller and Hildebrandt, 2002)."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrink(actions: Sequence[T], fails: Callable[[Sequence[T]], bool], seconds: float = 20.0) -> Sequence[T]:
    """Returns fewer actions that still fail. After `seconds` it returns the fewest so far."""
    until = time.monotonic() + seconds
    size = max(1, len(actions) // 2)
    while size:
        position, shorter = 0, False
        while position < len(actions):
            if time.monotonic() > until:
                return actions
            candidate = [*actions[:position], *actions[position + size :]]
            if fails(candidate):
                actions, shorter = candidate, True
            else:
                position += size
        if not shorter or size > 1:
            size //= 2
    return actions
