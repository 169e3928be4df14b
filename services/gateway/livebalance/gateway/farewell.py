"""Sending many clients away: one after the other, and each with a time of its own to come back."""

from collections.abc import Sequence
from typing import NamedTuple

MOMENT = 1.0  # seconds in which everyone may hear that it is asked to go, and go


class Farewell(NamedTuple):
    at: float  # seconds from the beginning
    retry_after_ms: int


def farewells(within: float, window: float, chances: Sequence[float]) -> list[Farewell]:
    """One for each of `chances`, which are in [0, 1): evenly spread over `within` seconds, but for a moment.

    Who comes back after the time given comes alone: each has a slot of the window (s), and a chance in its
    first half, so that neighbours stay apart.
    """
    count, moment = len(chances), min(MOMENT, within / 5)
    return [
        Farewell(
            moment + (place + 0.5) / count * (within - moment),
            int((place + chance / 2) / count * window * 1000),
        )
        for place, chance in enumerate(chances)
    ]
