"""How long deltas take, from Kafka to the transports of those who follow.

The time of a delta stands in its text, which nobody else reads: so one delta of a read of Redis is looked at,
and few reads a second.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from livebalance.gateway.telemetry import metrics
from livebalance.wire.delta import Delta, parts_of
from livebalance.wire.identity import AccountId, Position

EVERY = 0.05  # seconds


class Followed(Protocol):
    def positions(self, accounts: Iterable[AccountId]) -> Mapping[AccountId, Position]: ...


class LatencySampler:
    def __init__(self, hub: Followed) -> None:
        self._hub = hub
        self._next = 0.0

    def begin(self, deltas: Sequence[tuple[AccountId, Delta]]) -> tuple[AccountId, Delta] | None:
        """The one whose end is to be told, once they are relayed: if it continues what was relayed."""
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + EVERY
        account, delta = deltas[0]
        before = Position(delta.epoch, delta.from_)
        return deltas[0] if self._hub.positions((account,)).get(account) == before else None

    def end(self, account: AccountId, delta: Delta) -> None:
        """All is with the transports."""
        at = self._hub.positions((account,)).get(account)
        if at and at.epoch == delta.epoch and at.revision >= delta.to:
            now = time.time_ns() // 1_000_000
            metrics.COMMIT_TO_SOCKET.observe(max(0, now - parts_of(delta.text).recorded_at) / 1000)
