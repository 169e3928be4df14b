"""A client behind the balancer that keeps a diary: how it was asked to go, where it went, and when."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from livebalance.client.account import MissedRevisions
from livebalance.client.client import TokenProvider
from livebalance.client.event import Changed, Connected, Disconnected, Ended, Event
from livebalance.wire.frame import Error, Goaway
from livebalance.wire.identity import AccountId
from tests.acceptance.end_to_end.recording_client import Listener


class Arrival(NamedTuple):
    """It asked for a connection at a time, and was welcomed by a gateway."""

    asked: float
    gateway: str


class Traveller(Listener):
    def __init__(self, name: str, url: str, accounts: Sequence[AccountId], token: TokenProvider) -> None:
        super().__init__(name, url, accounts, self._asking(token))
        self.attempts = 0  # to connect
        self.arrivals: list[Arrival] = []
        self.told: list[Event] = []  # all but data and heartbeats
        self.stillness = 0.0  # seconds, the longest without data
        self._asked = 0.0
        self._moved_at = time.monotonic()

    def _asking(self, token: TokenProvider) -> TokenProvider:
        """A token is asked for with each attempt."""

        async def ask() -> str:
            self.attempts += 1
            self._asked = time.monotonic()
            return await token()

        return ask

    def take(self, event: Event) -> None:
        super().take(event)
        if isinstance(event, Changed):
            now = time.monotonic()
            self.stillness, self._moved_at = max(self.stillness, now - self._moved_at), now
        elif isinstance(event, Connected | Goaway | Disconnected | Ended | MissedRevisions | Error):
            self.told.append(event)
        if isinstance(event, Connected):
            self.arrivals.append(Arrival(self._asked, event.gateway))
