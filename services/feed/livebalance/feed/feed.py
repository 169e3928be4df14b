"""The feed's loop: opens accounts that have no balance, then writes transfers at the chosen pace."""

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, field

from livebalance.feed import metrics
from livebalance.feed.initial_balance import initial_balance
from livebalance.feed.producer import FeedProducer, connected_producer
from livebalance.feed.settings import FeedSettings
from livebalance.generator.pace import UNLIMITED, Pace
from livebalance.generator.transfers import AccountPicker, TransferPair, run_name, transfer_pair
from livebalance.runtime import logs
from livebalance.runtime.kafka.errors import Fate, fate_of

_MAX_BATCH = 1_000  # transfers per Kafka transaction, or unacknowledged at once
_MAX_BACKOFF_SECONDS = 5.0

_log = logs.get("feed")


@dataclass(frozen=True)
class FeedOptions:
    """Which transfers to write, and how. A transfer moves an amount between two accounts by two records."""

    accounts: int = 8
    rate: float = 5.0  # transfers per second
    seed: int = 1
    limit: float = UNLIMITED  # transfers
    transactional: bool = True


@dataclass
class Feed:
    """One run of the feed."""

    settings: FeedSettings
    options: FeedOptions
    run_name: str = field(default_factory=lambda: run_name(time.time_ns()))
    transfers: int = 0  # acknowledged
    opened: int = 0  # accounts

    def __post_init__(self) -> None:
        self._pace = Pace(self.options.rate, time.monotonic())
        self._picker = AccountPicker(self.options.accounts)
        self._made = 0
        self._unsent: list[TransferPair] = []  # not acknowledged: sent again after an error

    async def run(self, stopping: asyncio.Event) -> None:
        """Writes transfers until `stopping` is set or the limit is reached.

        After a transient error or a fence, the feed reconnects and sends unacknowledged transfers again.
        """
        failures = 0
        while not self._is_done(stopping):
            try:
                await self._connect_and_feed(stopping)
            except Exception as error:
                fate = fate_of(error)
                if fate is Fate.BUG:
                    raise
                failures += 1
                _log.warning("feed interrupted", fate=fate.value, error=repr(error))
                await _back_off(stopping, failures)

    def _is_done(self, stopping: asyncio.Event) -> bool:
        return stopping.is_set() or self.transfers >= self.options.limit

    async def _connect_and_feed(self, stopping: asyncio.Event) -> None:
        async with connected_producer(self.settings, transactional=True) as producer:
            self.opened += await producer.open(map(initial_balance, range(1, self.options.accounts + 1)))
            if self.options.transactional:
                await self._feed(producer, stopping)
        if not self.options.transactional:
            async with connected_producer(self.settings, transactional=False) as producer:
                await self._feed(producer, stopping)

    async def _feed(self, producer: FeedProducer, stopping: asyncio.Event) -> None:
        while not self._is_done(stopping):
            self._unsent = self._unsent or self._due_transfers()
            if self._unsent:
                await producer.send(self._unsent)
                self.transfers += len(self._unsent)
                metrics.records.inc(2 * len(self._unsent))
                self._unsent = []
            else:
                await _wait(stopping, self._pace.seconds_until_due(time.monotonic()))

    def _due_transfers(self) -> list[TransferPair]:
        limit = int(min(_MAX_BATCH, self.options.limit - self._made))
        first, count = self._made, self._pace.consume(time.monotonic(), limit)
        self._made += count
        seed, now_ms = self.options.seed, time.time_ns() // 1_000_000
        return [
            transfer_pair(seed, n, self._picker, self.run_name, now_ms) for n in range(first, first + count)
        ]


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


async def _back_off(stopping: asyncio.Event, failures: int) -> None:
    longest = min(_MAX_BACKOFF_SECONDS, 0.2 * 2 ** min(failures, 10))
    await _wait(stopping, random.uniform(longest / 4, longest))
