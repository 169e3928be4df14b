"""The steps of a rebuild: rounds of copying, replaying and comparing, then the swap (decision 24)."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from livebalance.cli.errors import UserError
from livebalance.cli.rebuild.differences import DifferenceCounts, account_differences
from livebalance.cli.rebuild.replay import Replay, Show
from livebalance.cli.rebuild.report import RebuildReport
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rebuild import comparison, replacement
from livebalance.readmodel.rebuild.rows import LaneEnd, Moment, QuarantineDifferences
from livebalance.runtime.process import failpoints
from livebalance.wire.identity import Epoch

_SHORT_SECONDS = 10.0  # a replay of less is short enough to confirm its result, or to hold the lanes for it
_MAX_ROUNDS = 20


@dataclass(frozen=True)
class SwapRequest:
    """How to replace accounts: for which reason, and for how many seconds to hold the lanes at most."""

    reason: str
    hold_seconds: float


@dataclass
class Round:
    """The result of a comparison."""

    moment: Moment
    seconds: float  # that the replay took
    accounts: int
    quarantine: QuarantineDifferences

    @property
    def differs(self) -> bool:
        """Whether the projection differs from the shadow."""
        return bool(self.accounts or any(self.quarantine))


@dataclass
class Rebuild:
    """A rebuild in progress. `show_phase` and `show` report it."""

    live: Connection
    shadow: Connection
    replay: Replay
    transfers_topic: str
    show_phase: Callable[[str], None]
    show: Show
    limit: int  # differences to report in full

    async def run(self, swap: SwapRequest | None) -> RebuildReport:
        """Compares the projection with its shadow, and replaces what differs if `swap` requests it.

        Raises:
            UserError: It failed; nothing was replaced.
        """
        last, rounds = await self._compare(None), 1
        while last.seconds > _SHORT_SECONDS and rounds < _MAX_ROUNDS:
            last, rounds = await self._compare(last.moment), rounds + 1
        epoch: Epoch | None = None
        if last.differs and swap is not None:
            last, epoch = await self._swap(last.moment, swap)
        elif last.differs:  # records may have been compacted between the copy and the replay
            last = await self._compare(last.moment)
        return await self._report(last, epoch)

    async def _compare(self, since: Moment | None) -> Round:
        async with self.live.transaction(isolation="repeatable_read", readonly=True):
            moment = await self._copy(since)
        return await self._finish_round(moment)

    async def _copy(self, since: Moment | None) -> Moment:
        self.show_phase("reading the projection")
        moment = await comparison.read_moment(self.live)
        await self._check_lanes(moment)
        async with self.shadow.transaction():
            await comparison.copy_accounts(self.live, self.shadow, since.snapshot if since else None)
        return moment

    async def _finish_round(self, moment: Moment) -> Round:
        self.show_phase("replaying")
        start = time.monotonic()
        await self.replay.run(moment.lanes, self.show)
        seconds = time.monotonic() - start
        await self._check_lanes(moment)
        self.show_phase("comparing")
        async with self.shadow.transaction():
            accounts = await comparison.compare(self.shadow)
            quarantine = await comparison.different_records(self.shadow, self.transfers_topic)
        return Round(moment, seconds, accounts, quarantine)

    async def _check_lanes(self, moment: Moment) -> None:
        """Raises UserError if the shadow cannot become what the projection is."""
        if not moment.lanes:
            raise UserError("this database contains no projection")
        shadow = await comparison.read_lanes(self.shadow)
        if shadow and shadow.keys() != moment.lanes.keys():
            raise UserError(f"the projection has {len(moment.lanes)} lanes, the shadow has {len(shadow)}")
        for id_, lane in shadow.items():
            if reason := mismatch(moment.lanes[id_], lane):
                raise UserError(f"lane {id_} of the shadow {reason}")

    async def _swap(self, since: Moment, swap: SwapRequest) -> tuple[Round, Epoch | None]:
        """Compares what was written since and replaces what differs, while it holds the lanes."""
        with _time_limit(swap.hold_seconds):
            async with asyncio.timeout(swap.hold_seconds), self.live.transaction():
                self.show_phase("holding the lanes")
                await replacement.hold_lanes(self.live)
                last = await self._finish_round(await self._copy(since))
                if not last.differs:
                    return last, None
                self.show_phase("swapping")
                async with self.shadow.transaction(readonly=True):
                    await replacement.replace_accounts(self.live, self.shadow)
                    await replacement.replace_quarantined(self.live, self.shadow, self.transfers_topic)
                failpoints.at("before_swap_commit")
                why = f"rebuild replaced {last.accounts} accounts: {swap.reason}"
                return last, await replacement.begin_epoch(self.live, why)

    async def _report(self, last: Round, epoch: Epoch | None) -> RebuildReport:
        differences = DifferenceCounts(self.limit)
        async with self.shadow.transaction(isolation="repeatable_read", readonly=True):
            live, shadow = await comparison.lane_sums(self.shadow)
            async for pair in comparison.different_accounts(self.shadow):
                differences.add(account_differences(*pair))
        return RebuildReport(last.moment.lanes, live, shadow, differences, last.quarantine, epoch)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises UserError instead of TimeoutError."""
    try:
        yield
    except TimeoutError as cause:
        raise UserError(f"nothing was swapped within {seconds:g} s: give more with --hold") from cause


def mismatch(live: LaneEnd, shadow: LaneEnd) -> str | None:
    """Returns why a lane of the shadow cannot become what the lane of the projection is; None if it can."""
    for live_id, shadow_id in (
        (live.transfers_topic_id, shadow.transfers_topic_id),
        (live.balances_topic_id, shadow.balances_topic_id),
    ):
        if None not in (live_id, shadow_id) and live_id != shadow_id:
            return "has another topic id: the topic was recreated"
    if shadow.transfers > live.transfers or shadow.balances > live.balances:
        return "is ahead of the projection: give --restart"
    if shadow.from_start != live.from_start:
        return "starts elsewhere: set LIVEBALANCE_START_FROM as for the projectors"
    return None
