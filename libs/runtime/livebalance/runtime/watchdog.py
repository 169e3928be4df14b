"""Who has been silent for too long: a consumer can stop fetching without a word, and so can what it feeds."""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)

STEP = 1.0  # seconds that one look may add: a process that was paused has not waited


class Watchdog(Generic[Name]):
    """Counts the silence of each partition, in seconds."""

    def __init__(self, patience: float, now: float) -> None:
        self._patience, self._now = patience, now
        self._answered: dict[Name, int | None] = {}
        self._silence: dict[Name, float] = {}

    def silent(self, answered: Mapping[Name, int | None], now: float) -> set[Name]:
        """Those whose last answer (`answered`: a time of any kind) has not changed for the whole patience.

        To be asked again and again; a partition that is left out is forgotten.
        """
        step, self._now = min(now - self._now, STEP), now
        self._silence = {
            name: self._silence[name] + step if self._heard_before(name, answer) else 0.0
            for name, answer in answered.items()
        }
        self._answered = dict(answered)
        return {name for name, silence in self._silence.items() if silence >= self._patience}

    def _heard_before(self, name: Name, answer: int | None) -> bool:
        return name in self._silence and self._answered[name] == answer
