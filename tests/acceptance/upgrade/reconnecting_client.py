"""A client behind the balancer that records why, when and where it reconnected."""

import time
from collections.abc import Sequence
from typing import NamedTuple

from livebalance.client.account import MissedRevisions
from livebalance.client.client import TokenProvider
from livebalance.client.event import Changed, Connected, Disconnected, Ended, Event
from livebalance.wire.frame import Error, Goaway
from livebalance.wire.identity import AccountId
from tests.acceptance.end_to_end.recording_client import RecordingClient


class ConnectionRecord(NamedTuple):
    """A connection: when the client attempted it (monotonic seconds), and the gateway that accepted it."""

    attempted_at: float
    gateway: str


class ReconnectingClient(RecordingClient):
    """Records connection attempts, connections, and the longest pause between two changes."""

    def __init__(self, name: str, url: str, accounts: Sequence[AccountId], token: TokenProvider) -> None:
        super().__init__(name, url, accounts, self._recording_attempts(token))
        self.attempts = 0  # to connect
        self.history: list[ConnectionRecord] = []
        self.connection_events: list[Event] = []
        self.longest_pause = 0.0  # seconds without a change
        self._attempted_at = 0.0
        self._changed_at = time.monotonic()

    def _recording_attempts(self, token: TokenProvider) -> TokenProvider:
        """Returns a token provider that also records attempts: the client fetches a token for each."""

        async def fetch() -> str:
            self.attempts += 1
            self._attempted_at = time.monotonic()
            return await token()

        return fetch

    def handle_event(self, event: Event) -> None:
        super().handle_event(event)
        if isinstance(event, Changed):
            now = time.monotonic()
            self.longest_pause = max(self.longest_pause, now - self._changed_at)
            self._changed_at = now
        elif isinstance(event, Connected | Goaway | Disconnected | Ended | MissedRevisions | Error):
            self.connection_events.append(event)
        if isinstance(event, Connected):
            self.history.append(ConnectionRecord(self._attempted_at, event.gateway))
