"""A client behind the balancer that records why, when and where it reconnected."""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf
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


class FirstShown:
    """When any client first showed each revision of an account, or a later one (monotonic seconds)."""

    def __init__(self) -> None:
        self._times: dict[AccountId, list[tuple[int, float]]] = defaultdict(list)

    def seconds_behind(self, account: AccountId, before: int, after: int) -> float:
        """Notes that a client moved between revisions. Returns how long others have shown more than it."""
        times, now = self._times[account], time.monotonic()
        if not times or times[-1][0] < after:
            times.append((after, now))
        return now - times[bisect_right(times, (before, inf))][1]


class ReconnectingClient(RecordingClient):
    """Records connection attempts, connections, and the longest time without data.

    `longest_pause` is between two changes. `longest_lag` counts only while other clients get changes of the
    account, so that neither a pause of a projector nor one of the feed is part of it.
    """

    def __init__(
        self,
        name: str,
        url: str,
        accounts: Sequence[AccountId],
        token: TokenProvider,
        first_shown: FirstShown,
    ) -> None:
        super().__init__(name, url, accounts, self._recording_attempts(token))
        self.attempts = 0  # to connect
        self.history: list[ConnectionRecord] = []
        self.connection_events: list[Event] = []
        self.longest_pause = self.longest_lag = 0.0  # seconds
        self._first_shown = first_shown
        self._shown: dict[AccountId, int] = {}  # revision
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
            self._measure_lag(event.account.account, event.account.position.revision)
        elif isinstance(event, Connected | Goaway | Disconnected | Ended | MissedRevisions | Error):
            self.connection_events.append(event)
        if isinstance(event, Connected):
            self.history.append(ConnectionRecord(self._attempted_at, event.gateway))

    def _measure_lag(self, account: AccountId, revision: int) -> None:
        before = self._shown.get(account, revision - 1)  # a first answer is not late
        self._shown[account] = revision
        self.longest_lag = max(self.longest_lag, self._first_shown.seconds_behind(account, before, revision))


@asynccontextmanager
async def running(clients: Sequence[ReconnectingClient], timeout_seconds: float) -> AsyncIterator[None]:
    """Runs clients while the block runs, which begins when all of them are subscribed."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.run()) for client in clients]
        async with asyncio.timeout(timeout_seconds):
            await asyncio.gather(*(client.wait_until_subscribed() for client in clients))
        yield
        for task in tasks:
            task.cancel()
