"""The channel of a set: its members, and the batch of each lane that they are of.

A read gives the members at the batches that it contains. Batches that arrived since the read began, and that
it does not contain, follow. Then the members are those of SQL at the newest batch of each lane. A batch also
says which total its lane keeps of the set: if the sum of the members would be another, the set is read again.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.sets.members import MemberChange, Members
from livebalance.gateway.live.sets.stream import BatchStream
from livebalance.gateway.live.sets.subscription import make_position
from livebalance.gateway.live.sets.totals import lane_total
from livebalance.readmodel.sets.reads import Member, SetState
from livebalance.wire.frame import SetDelta, SetSnapshot, SetSnapshotReason, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, SetName
from livebalance.wire.sets.batch import ChangedAccount, KeptTotal, LaneBatch
from livebalance.wire.timestamp import Millis

PAGE_MEMBERS = 128  # in a frame
MAX_BUFFERED_ACCOUNTS = 10_000  # during a read; with more, another read follows


class SetRead:
    """A read of a set from Postgres. Compared by identity: the answer names its read."""

    __slots__ = ("breaks", "name", "numbers")

    def __init__(self, name: SetName, stream: BatchStream) -> None:
        self.name = name
        self.breaks, self.numbers = stream.breaks, dict(stream.numbers)


class SetBatch(NamedTuple):
    """A batch, the accounts of it that are or were members, and the total that its lane keeps."""

    batch: LaneBatch
    accounts: Sequence[ChangedAccount]
    kept: Sequence[KeptTotal] = ()  # empty: the lane's owner has not counted the set yet


class Outcome(NamedTuple):
    """What an input changed."""

    frame: Frame | None = None  # for subscriptions in step; None: they catch up, if anything changed
    joined: Sequence[AccountId] = ()
    changed: bool = False
    replaced: bool = False  # all subscriptions need a snapshot
    differs: bool = False  # from what batches or totals made expect: it is read again


NOTHING = Outcome()


class SetChannel:
    """State of a set. Inputs are batches that change its members, and reads."""

    def __init__(self, name: SetName, stream: BatchStream, created_at: float) -> None:
        self.name = name
        self.created_at = created_at  # monotonic seconds
        self.members = Members()
        self.epoch: Epoch | None = None  # None: not read yet
        self.lanes: dict[Lane, int] = {}  # a batch of each lane that the members are of
        self.replaced = 0  # number of the change since which members are shown anew
        self.wrong_lanes: Collection[Lane] = ()  # that keep another total than SQL sums up, at the last read
        self._stream = stream
        self._synced_at = -1  # the breaks of the stream when the members last were those of its batches
        self._read_as_of: Millis | None = None
        self._reading: SetRead | None = None
        self._buffered: list[SetBatch] = []
        self._buffered_accounts = 0

    @property
    def is_synced(self) -> bool:
        """Whether the members are those of the newest batches."""
        return self._synced_at == self._stream.breaks

    @property
    def as_of(self) -> Millis | None:
        """The time that the members are complete as of."""
        times = [self._read_as_of, self._stream.as_of if self.is_synced else None]
        return max((time for time in times if time is not None), default=None)

    # --- reads

    def begin_read(self) -> SetRead | None:
        """Begins a read, or returns None if another is running."""
        if self._reading is not None:
            return None
        self._reading, self._buffered, self._buffered_accounts = SetRead(self.name, self._stream), [], 0
        return self._reading

    def is_current(self, read: SetRead) -> bool:
        """Returns whether the read is running."""
        return self._reading is read

    @property
    def is_reading(self) -> bool:
        """Whether a read is running."""
        return self._reading is not None

    def on_read_failed(self) -> None:
        """Ends the read."""
        self._reading, self._buffered = None, []

    def on_read(self, state: SetState) -> Outcome:
        """Takes over what was read and buffered."""
        read, stream, buffered = self._reading, self._stream, self._buffered
        assert read
        self._reading, self._buffered = None, []
        if read.breaks != stream.breaks or self._buffered_accounts > MAX_BUFFERED_ACCOUNTS:
            return NOTHING  # batches are missing: another read follows
        if stream.epoch is None:
            stream.epoch = state.epoch  # no batch has arrived yet
        if stream.epoch != state.epoch:
            stream.restart(state.epoch, state.lanes)
            buffered = []
        elif stream.is_ahead(state.lanes, read.numbers):
            stream.restart(state.epoch, state.lanes)  # Postgres lost commits, or a foreign program publishes
            return NOTHING
        for lane, number in state.lanes.items():
            stream.numbers.setdefault(lane, number)
        self.wrong_lanes = state.wrong_lanes
        members, lanes = dict(state.members), dict(state.lanes)
        newest: dict[Lane, SetBatch] = {}
        for received in buffered:
            batch = received.batch
            if batch.number > lanes.get(batch.lane, 0):
                lanes[batch.lane] = batch.number
                self._apply(members, batch.lane, received.accounts)
                newest[batch.lane] = received
        for lane, received in newest.items():
            if self._may_compare(received) and not lane_total(members.values(), lane).equals(received.kept):
                stream.break_()
                return Outcome(differs=True)
        return self._take_over(state, members, lanes)

    def _apply(
        self, members: dict[AccountId, Member], lane: Lane, accounts: Sequence[ChangedAccount]
    ) -> None:
        for account in accounts:
            view = account.view
            if view is not None and self._matches(account):
                members[account.account] = Member(view, lane)
            else:
                members.pop(account.account, None)

    def _take_over(
        self, state: SetState, members: Mapping[AccountId, Member], lanes: dict[Lane, int]
    ) -> Outcome:
        is_first, was_synced, stream = self.epoch is None, self.is_synced, self._stream
        has_same_epoch = self.epoch == state.epoch
        changed = self.members.replace(members)
        differs = (
            was_synced
            and has_same_epoch
            and any(state.lanes.get(change.lane, 0) <= stream.numbers[change.lane] for change in changed)
        )
        replaced = not is_first and (differs or not has_same_epoch or self._went_back(lanes))
        if differs:
            stream.break_()  # other sets may differ as well
        self.epoch, self.lanes, self._read_as_of = state.epoch, lanes, state.as_of
        self._synced_at = stream.breaks
        if replaced:
            self.replaced = self.members.skip()
        joined = [change.account for change in changed if change.view is None]
        return Outcome(None, joined, bool(changed), replaced, differs)

    def _went_back(self, lanes: dict[Lane, int]) -> bool:
        """Returns whether a lane is at an older batch now, whose members clients cannot go back to."""
        return any(lanes.get(lane, 0) < number for lane, number in self.lanes.items())

    # --- batches

    def _matches(self, account: ChangedAccount) -> bool:
        if self.name.kind == "prefix":
            return account.account.startswith(self.name.value)
        return account.client_id == self.name.value

    def _may_compare(self, received: SetBatch) -> bool:
        return bool(received.kept) and received.batch.lane not in self.wrong_lanes

    def _agrees(self, received: SetBatch) -> bool:
        """Returns whether the batch makes the sum of its lane's members equal to the total that it keeps."""
        if not self._may_compare(received):
            return True
        total = self.members.totals.of_lane(received.batch.lane).copy()
        for account in received.accounts:
            if former := self.members.view(account.account):
                total.change(former, -1)
            if (view := account.view) is not None and self._matches(account):
                total.change(view, 1)
        return total.equals(received.kept)

    def on_batch(self, received: SetBatch) -> Outcome:
        """Applies the next batch of a lane."""
        batch, accounts, _ = received
        if self._reading is not None:
            self._buffered_accounts += len(accounts)
            if self._buffered_accounts <= MAX_BUFFERED_ACCOUNTS:
                self._buffered.append(received)
        if not self.is_synced or batch.number <= self.lanes.get(batch.lane, 0):
            return NOTHING
        if not self._agrees(received):
            self._stream.break_()
            return Outcome(differs=True)
        before, joined = self.members.newest, []
        for account in accounts:
            view = account.view
            if view is not None and self._matches(account):
                if account.account not in self.members:
                    joined.append(account.account)
                self.members.put(Member(view, batch.lane))
            elif account.account in self.members:
                self.members.remove(account.account)
        self.lanes[batch.lane] = batch.number
        if self.members.newest == before:
            return NOTHING
        return Outcome(self._delta(before, batch.lane), joined, changed=True)

    # --- frames

    def _delta(self, before: int, lane: Lane) -> Frame | None:
        changes, more = self.members.after(before, PAGE_MEMBERS, before)
        if more or self.members.forgotten > before:
            return None
        left = [change.account for change in changes if change.view is None]
        content = self._content(changes, more=False, lanes={str(lane): self.lanes[lane]})
        delta = SetDelta(**content, from_=before, left=left)
        return self._frame(make_position(before, 0), self.members.newest, delta)

    def page(self, number: int, left_after: int, reason: SetSnapshotReason | None) -> Frame | None:
        """Returns what a client lacks that has everything up to a number; None if it lacks nothing.

        Args:
            number: The number.
            left_after: Accounts that left until this change are unknown to the client.
            reason: The page begins a snapshot, for this reason; None: it continues.
        """
        changes, more = self.members.after(number, PAGE_MEMBERS, left_after)
        if not changes and reason is None:
            return None
        to = changes[-1].number if more else self.members.newest
        lanes = {str(lane): batch for lane, batch in self.lanes.items()}
        content = self._content(changes, more=more, lanes=lanes)
        if reason is not None:
            return self._frame(None, to, SetSnapshot(**content, reason=reason))
        left = [change.account for change in changes if change.view is None]
        delta = SetDelta(**content, from_=number, left=left)
        return self._frame(make_position(number, left_after), to, delta)

    def _content(
        self, changes: Sequence[MemberChange], *, more: bool, lanes: dict[str, int]
    ) -> dict[str, Any]:
        assert self.epoch
        content: dict[str, Any] = {
            "channel": self.name.channel,
            "epoch": self.epoch,
            "to": changes[-1].number if more else self.members.newest,
            "members": [change.view for change in changes if change.view is not None],
        }
        if more:
            return {**content, "more": True}
        return {**content, "totals": self.members.totals.views(), "lanes": lanes}

    def _frame(self, before: Position | None, after: int, content: SetSnapshot | SetDelta) -> Frame:
        is_mergeable = isinstance(content, SetDelta) and not content.more
        text = encode_frame(content)
        return Frame(self.name, before, make_position(after, 0), text, mergeable=is_mergeable)
