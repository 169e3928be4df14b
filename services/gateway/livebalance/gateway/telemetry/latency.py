"""Measures how long deltas take, from Kafka to the transports of their subscribers.

A delta's time is in its text, which no other code of the relay decodes. So only a sample is decoded: at most
one delta of a read of Redis, and few reads a second.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from livebalance.gateway.telemetry import metrics
from livebalance.wire.delta import Delta, split_delta_frame
from livebalance.wire.identity import AccountId, Position

SAMPLE_SECONDS = 0.05  # between two samples


class PositionLookup(Protocol):
    """The positions of the accounts, which the hub has."""

    def positions(self, accounts: Iterable[AccountId]) -> Mapping[AccountId, Position]:
        """Returns the positions of the accounts that it knows."""


class LatencySampler:
    """Observes `commit_to_socket_seconds` for a sample of the deltas."""

    def __init__(self, hub: PositionLookup) -> None:
        self._hub = hub
        self._next = 0.0

    def start(self, deltas: Sequence[tuple[AccountId, Delta]]) -> tuple[AccountId, Delta] | None:
        """Returns the delta to pass to `finish` once these deltas are written, if any is sampled.

        A delta is sampled only if it continues its account's position, so that it is written at once.
        """
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + SAMPLE_SECONDS
        account, delta = deltas[0]
        start = Position(delta.epoch, delta.from_)
        return deltas[0] if self._hub.positions((account,)).get(account) == start else None

    def finish(self, account: AccountId, delta: Delta) -> None:
        """Observes a sampled delta. Called when the deltas are written to the transports."""
        position = self._hub.positions((account,)).get(account)
        if position and position.epoch == delta.epoch and position.revision >= delta.to:
            now = time.time_ns() // 1_000_000
            metrics.COMMIT_TO_SOCKET.observe(max(0, now - split_delta_frame(delta.text).recorded_at) / 1000)
