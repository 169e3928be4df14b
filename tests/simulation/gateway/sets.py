"""Sets in the simulated world: batches on Redis, reads of sets, clients with sets, and what SQL says.

Each account has a lane of its own. The world remembers the members of each lane after each of its batches.
Owners of lanes keep the totals of the sets that they have counted, and may keep a wrong one.
"""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from livebalance.gateway.live.effects import Effects
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.sets.set_channel import SetRead
from livebalance.readmodel.gateway_reads import LaneProgress
from livebalance.readmodel.sets.reads import Member, SetState
from livebalance.wire.frame import (
    ChannelRequest,
    Subscribe,
    Unsubscribe,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision, SetName
from livebalance.wire.sets.batch import ChangedAccount, KeptTotal, LaneBatch
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView
from tests.simulation.gateway.client import Client
from tests.simulation.gateway.set_client import SetClient, SetScreen
from tests.simulation.gateway.world import World
from tests.simulation.projection import Projection
from tests.simulation.reads import StoredProjection


class Batch(NamedTuple):
    """A batch of a lane, by its epoch, lane and number."""

    epoch: Epoch
    lane: Lane
    number: int


class SetWorld(World):
    """A world whose lanes number their batches."""

    client_type = SetClient

    def __init__(self, projection: Projection) -> None:
        super().__init__(projection)
        self.lane_of = {account: Lane(lane) for lane, account in enumerate(projection.accounts)}
        self.owners = dict.fromkeys(projection.accounts, "c")
        self.numbers = dict.fromkeys(self.lane_of.values(), 1)
        self.states: dict[Batch, list[MemberView]] = {}  # the members of a lane after each batch
        self.revisions: dict[Batch, Revision] = {}
        self.batch_commits: dict[Lane, list[tuple[Millis, Batch]]] = {
            lane: [] for lane in self.lane_of.values()
        }
        self.batches_forged = False
        self.counted: set[tuple[SetName, Lane]] = set()
        self.kept_errors: dict[tuple[SetName, Lane], int] = {}  # what a lane keeps too much
        self.batch_commands: deque[bool] = deque()
        self.batches_subscribed = False
        self.batch_acknowledgements = 0  # that are due to the subscriber
        self.incoming_batches: deque[LaneBatch | None] = deque()  # None: an acknowledgement
        self.unpublished_batches: list[LaneBatch] = []
        self.set_reads: list[SetRead] = []
        self.set_answers: list[tuple[SetRead, SetState]] = []
        for account in projection.accounts:
            self._remember(account)

    # --- the projection

    def _view(self, account: AccountId) -> MemberView | None:
        history = self.projection.current(account)
        balance = history.balance()
        if balance is None:
            return None
        return MemberView(account, history.revision, balance.amount, "EUR", self.owners[account], None)

    def batch_of(self, account: AccountId) -> Batch:
        lane = self.lane_of[account]
        return Batch(self.projection.epoch, lane, self.numbers[lane])

    def _remember(self, account: AccountId) -> None:
        batch, view = self.batch_of(account), self._view(account)
        self.states[batch] = [] if view is None else [view]
        self.revisions[batch] = self.projection.current(account).revision
        self.batch_commits[batch.lane].append((self.wall, batch))

    def change(
        self,
        account: AccountId,
        transfers: list[bool],
        header_only: bool,
        *,
        owner: str | None = None,
    ) -> None:
        before = self.projection.current(account).revision
        former = self.owners[account]
        super().change(account, transfers, header_only)
        if self.projection.current(account).revision > before:
            self.owners[account] = owner or former
            self._commit_batch(account, former, header_only)

    def erase(self, account: AccountId) -> None:
        super().erase(account)
        self._commit_batch(account, self.owners[account])

    # --- kept totals

    def count_set(self, name: SetName) -> None:
        """Lets all lanes count a set. Each is right then."""
        for lane in self.numbers:
            self.counted.add((name, lane))
            self.kept_errors.pop((name, lane), None)

    def forget_set(self, name: SetName) -> None:
        self.counted -= {(name, lane) for lane in self.numbers}

    def keep_wrong_total(self, name: SetName, account: AccountId) -> None:
        self.kept_errors[name, self.lane_of[account]] = 1

    def _kept(self, name: SetName, batch: Batch) -> KeptTotal:
        amounts = [int(member.amount) for member in self.members_at(name, batch)]
        kept = sum(amounts) + self.kept_errors.get((name, batch.lane), 0)
        return KeptTotal(name.channel, "EUR", str(kept), len(amounts))

    def _changed_totals(self, before: Batch, after: Batch) -> list[KeptTotal]:
        return [
            self._kept(name, after)
            for name, lane in sorted(self.counted)
            if lane == after.lane and (self.members_at(name, before) or self.members_at(name, after))
        ]

    def _commit_batch(self, account: AccountId, former: str, header_only: bool = False) -> None:
        before = self.batch_of(account)
        self.numbers[self.lane_of[account]] += 1
        self._remember(account)
        view, batch = self._view(account), self.batch_of(account)
        revision = self.projection.current(account).revision
        if view is None:
            changed = ChangedAccount(account, revision, former_client=former)
        else:
            owner = self.owners[account]
            changed = ChangedAccount(
                account, revision, view.amount, "EUR", owner, None, None if owner == former else former
            )
        accounts, totals = ([], []) if header_only else ([changed], self._changed_totals(before, batch))
        self.unpublished_batches.append(
            LaneBatch(batch.lane, batch.epoch, batch.number, accounts, header_only, totals)
        )

    def lose(self, account: AccountId, count: int) -> None:
        """Loses the last batches of the account's lane."""
        lane, epoch = self.lane_of[account], self.projection.epoch
        known = [batch for batch in self.states if batch.lane == lane and batch.epoch == epoch]
        left = known[: max(1, len(known) - count)][-1]
        lost = self.projection.current(account).revision - self.revisions[left]
        if lost > 0:
            super().lose(account, lost)
            self.numbers[lane] = left.number
            self.batch_commits[lane] = [
                commit
                for commit in self.batch_commits[lane]
                if commit[1].epoch != epoch or commit[1].number <= left.number
            ]

    def rebuild(self) -> None:
        super().rebuild()
        for account in self.projection.accounts:
            self._remember(account)

    def matches(self, name: SetName, member: MemberView) -> bool:
        if name.kind == "prefix":
            return member.account.startswith(name.value)
        return member.client_id == name.value

    def members_at(self, name: SetName, batch: Batch) -> list[MemberView]:
        assert batch in self.states, "no position of SQL"
        return [member for member in self.states[batch] if self.matches(name, member)]

    # --- Redis

    def publish(self, index: int = 0) -> None:
        super().publish(index)
        self.publish_batch(index)

    def publish_batch(self, index: int = 0) -> None:
        if index < len(self.unpublished_batches):
            batch = self.unpublished_batches.pop(index)
            if self.batches_subscribed:
                self.incoming_batches.append(batch)

    def execute_command(self) -> None:
        super().execute_command()
        if self.batch_commands:
            self.batches_subscribed = self.batch_commands.popleft()
            if self.batches_subscribed:
                self.incoming_batches.append(None)

    def deliver(self, count: int = 1) -> None:
        super().deliver(count)
        for batch in [self.incoming_batches.popleft() for _ in range(min(count, len(self.incoming_batches)))]:
            if batch is None:
                self.batch_acknowledgements -= 1
                if self.batch_acknowledgements == 0:
                    self.hub.sets.on_subscribed()
            elif self.is_withholding:
                self.hub.sets.on_batches_lost()
            else:
                self.hub.sets.on_batch(batch)
        self.perform()

    def restart_redis(self) -> None:
        super().restart_redis()
        self.incoming_batches.clear()
        self.batch_commands.clear()
        self.batches_subscribed = False
        self.batch_acknowledgements = 0
        if self.hub.sets.channels:
            self._send_batch_command(True)

    def _send_batch_command(self, wanted: bool) -> None:
        self.batch_commands.append(wanted)
        self.batch_acknowledgements += wanted

    def forge_batch(self, account: AccountId, ahead: int) -> None:
        """Publishes a batch that the gateway takes for the next, or for a later batch of the lane."""
        if not self.batches_subscribed:
            return
        lane = self.lane_of[account]
        forged = ChangedAccount(account, Revision(99), "999", "EUR", self.owners[account], None)
        number = self.hub.sets._stream.numbers.get(lane, 0) + ahead
        self.incoming_batches.append(LaneBatch(lane, self.projection.epoch, number, [forged]))
        self.batches_forged = True

    def corrupt_newest_batch(self, names: Sequence[SetName]) -> None:
        """Changes an amount on its way, if the batch has the totals of all sets with the account."""
        batch = self.incoming_batches[-1] if self.incoming_batches else None
        if batch is None or not batch.totals:
            return
        [account] = batch.accounts
        changed = {
            name.channel for name in names if account.view is not None and self.matches(name, account.view)
        }
        wrong = [
            *(channel.wrong_lanes for channel in self.hub.sets.channels.values()),
            *(state.wrong_lanes for _, state in self.set_answers),
        ]
        is_compared = not any(batch.lane in lanes for lanes in wrong)
        if is_compared and changed <= {total.channel for total in batch.totals}:
            corrupt = replace(account, amount="777777") if account.view else account
            self.incoming_batches[-1] = replace(batch, accounts=[corrupt])

    # --- Postgres

    @property
    def _stored(self) -> StoredProjection:
        progress = {
            lane: LaneProgress(self.halted_at or self.wall, "why" if self.halted_at else None, number)
            for lane, number in self.numbers.items()
        }
        return StoredProjection(self.projection.epoch, len(progress), progress)

    def run_read(self, index: int = 0) -> None:
        super().run_read(index)
        if index < len(self.set_reads):
            read = self.set_reads.pop(index)
            members = {
                member.account: Member(member, self.lane_of[member.account])
                for account in self.projection.accounts
                for member in self.members_at(read.name, self.batch_of(account))
            }
            as_of = self.halted_at or self.wall
            wrong = [lane for name, lane in self.counted & self.kept_errors.keys() if name == read.name]
            self.set_answers.append(
                (read, SetState(self.projection.epoch, dict(self.numbers), members, as_of, wrong))
            )

    def answer(self, index: int = 0) -> None:
        super().answer(index)
        if index < len(self.set_answers):
            read, state = self.set_answers.pop(index)
            self.hub.sets.on_read(read, state)
            self.perform()

    def fail_read(self, index: int = 0) -> None:
        super().fail_read(index)
        if index < len(self.set_reads):
            self.hub.sets.on_read_failed(self.set_reads.pop(index))
            self.perform()

    # --- clients

    def subscribe_set(self, client: Client, name: SetName) -> None:
        assert isinstance(client, SetClient)
        request = client.next_request()
        client.sets[name] = SetScreen(request)
        self._receive(client, Subscribe(request, [ChannelRequest(name.channel)]))

    def unsubscribe_set(self, client: Client, name: SetName) -> None:
        assert isinstance(client, SetClient)
        client.sets.pop(name, None)
        self._receive(client, Unsubscribe(client.next_request(), [name.channel]))

    def reconnect(self, client: Client, seconds: float = float("inf")) -> None:
        assert isinstance(client, SetClient)
        index, names = self.clients.index(client), list(client.sets)
        super().reconnect(client, seconds)
        for name in names:
            self.subscribe_set(self.clients[index], name)

    # --- the relay

    def drained(self, effects: Effects) -> None:
        if effects.batches_wanted is not None:
            self._send_batch_command(effects.batches_wanted)
        self.set_reads += effects.set_reads

    def written(self, client: Client, frames: Iterable[Frame | bytes]) -> None:
        for frame in frames:
            if isinstance(frame, Frame) and isinstance(frame.account, SetName):
                accounts = {member["account"] for member in json.loads(frame.text)["members"]}
                assert accounts.isdisjoint(client.revoked), "a frame with a revoked account was written"

    @property
    def _is_busy(self) -> bool:
        """Whether anything is under way, beside the reads with which audits compare sets in turn."""
        channels = self.hub.sets.channels
        reads = [*self.set_reads, *(read for read, _ in self.set_answers)]
        return super()._is_busy or bool(
            self.unpublished_batches
            or self.batch_commands
            or self.incoming_batches
            or any(read.name in channels and not channels[read.name].is_synced for read in reads)
        )

    def _finish_everything(self) -> bool:
        busy = super()._finish_everything()
        while self.unpublished_batches:
            self.publish_batch()
        while self.batch_commands:
            self.execute_command()
        self.deliver(len(self.incoming_batches))
        for _ in range(len(self.set_reads)):
            self.run_read()
        for _ in range(len(self.set_answers)):
            self.answer()
        return busy
