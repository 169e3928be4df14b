"""The loop: opens what is missing, then sends what is due until told to stop or the limit is reached."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field

from livebalance.feed import metrics
from livebalance.feed.initial_balance import opening
from livebalance.feed.producer import FeedProducer, topic
from livebalance.feed.settings import FeedSettings
from livebalance.generator.pace import UNLIMITED, Pace
from livebalance.generator.transfers import AccountPicker, Pair, pair, run_name
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate, fate_of

_MOST = 1_000  # transfers in one Kafka transaction, or unacknowledged at once
_MAX_BACKOFF = 5.0  # seconds

_log = logs.get("feed")


@dataclass(frozen=True)
class FeedOptions:
    """What to feed. A transfer is one movement of money between two accounts, and two records."""

    accounts: int = 8
    rate: float = 5.0  # transfers a second
    seed: int = 1
    limit: float = UNLIMITED  # transfers
    plain: bool = False  # without Kafka transactions


@dataclass
class Feed:
    """One run of the feed."""

    settings: FeedSettings
    order: FeedOptions
    run: str = field(default_factory=lambda: run_name(time.time_ns()))
    transfers: int = 0  # acknowledged
    opened: int = 0

    def __post_init__(self) -> None:
        self._pace = Pace(self.order.rate, time.monotonic())
        self._crowd = AccountPicker(self.order.accounts)
        self._made = 0
        self._unsent: list[Pair] = []  # made, but not known to be acknowledged: sent again after an error

    async def until(self, stopping: asyncio.Event) -> None:
        """Feeds until told to stop or the limit is reached; whatever Kafka does, nothing is left out."""
        failures = 0
        while not self._done(stopping):
            try:
                await self._connected(stopping)
            except Exception as error:
                fate = fate_of(error)
                if fate is Fate.BUG:
                    raise
                failures += 1
                _log.warning("feed interrupted", fate=fate.value, error=repr(error))
                await _back_off(stopping, failures)

    def _done(self, stopping: asyncio.Event) -> bool:
        return stopping.is_set() or self.transfers >= self.order.limit

    async def _connected(self, stopping: asyncio.Event) -> None:
        async with topic(self.settings, plain=False) as fenced:
            self.opened += await fenced.open(map(opening, range(1, self.order.accounts + 1)))
            if not self.order.plain:
                await self._feed(fenced, stopping)
        if self.order.plain:
            async with topic(self.settings, plain=True) as plain:
                await self._feed(plain, stopping)

    async def _feed(self, to: FeedProducer, stopping: asyncio.Event) -> None:
        while not self._done(stopping):
            self._unsent = self._unsent or self._due()
            if self._unsent:
                await to.feed(self._unsent)
                self.transfers += len(self._unsent)
                metrics.records.inc(2 * len(self._unsent))
                self._unsent = []
            else:
                await _wait(stopping, self._pace.wait(time.monotonic()))

    def _due(self) -> list[Pair]:
        most = int(min(_MOST, self.order.limit - self._made))
        first, count = self._made, self._pace.take(time.monotonic(), most)
        self._made += count
        order, now_ms = self.order, time.time_ns() // 1_000_000
        return [pair(order.seed, n, self._crowd, self.run, now_ms) for n in range(first, first + count)]


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def _back_off(stopping: asyncio.Event, failures: int) -> None:
    most = min(_MAX_BACKOFF, 0.2 * 2 ** min(failures, 10))
    await _wait(stopping, random.uniform(most / 4, most))
