"""A model of the projection: what Postgres has of some accounts, and every state that it ever had."""

from dataclasses import dataclass, field
from typing import NamedTuple

from msgspec.structs import replace

from livebalance.gateway.live.content import RelayedContent
from livebalance.gateway.live.outbox import Frame
from livebalance.readmodel.gateway_reads import ContentDigest
from livebalance.wire.delta import DeltaParts, encode_delta_frame
from livebalance.wire.frame import DeltaFrame, Gap, Snapshot, SnapshotReason
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, TransferId, channel_name
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json

WHEN = "2026-11-24T17:20:00.000Z"
SNAPSHOT_TRANSFERS = 3  # so few that a snapshot in place of deltas leaves transfers out
PAGE_TRANSFERS = 2
ACCOUNT = AccountId("")  # digests have no account
RECOVERY_MAX_REVISIONS = 12


class Erasure(NamedTuple):
    """A change that erases an account."""


Change = TransferView | BalanceView | Erasure


@dataclass
class AccountHistory:
    """The changes of an account within an epoch. Change number n made revision n."""

    changes: list[Change] = field(default_factory=list)

    @property
    def revision(self) -> Revision:
        return Revision(len(self.changes))

    def erased_revision(self, upto: int | None = None) -> Revision:
        """Returns the revision of the last erasure up to a revision; 0: there was none."""
        erasures = [n for n, change in enumerate(self.changes[:upto], 1) if isinstance(change, Erasure)]
        return Revision(erasures[-1] if erasures else 0)

    def transfers(self, after: int = 0, upto: int | None = None) -> list[TransferView]:
        """Returns the transfers above a revision that are not erased at another."""
        start = max(after, self.erased_revision(upto))
        return [change for change in self.changes[start:upto] if isinstance(change, TransferView)]

    def balances(self, upto: int | None = None) -> list[BalanceView]:
        """Returns the balances since the last erasure up to a revision."""
        changes = self.changes[self.erased_revision(upto) : upto]
        return [change for change in changes if isinstance(change, BalanceView)]

    def balance(self, upto: int | None = None) -> BalanceView | None:
        balances = self.balances(upto)
        return balances[-1] if balances else None

    def differs(self, revision: Revision, digest: ContentDigest) -> bool:
        """Returns whether an audit of an account at this revision finds other content than was relayed."""
        if self.revision < revision or self.erased_revision() > revision:
            return False
        content = RelayedContent(ACCOUNT, digest.since)
        transfers = [
            transfer
            for transfer in self.transfers(digest.since, revision)
            if not any(first <= transfer.revision <= last for first, last in digest.skipped)
        ]
        columns = balance_json(self.balance()), transfers_json(transfers)
        parts = DeltaParts(Epoch(""), digest.since, revision, Millis(0), *columns)
        before, after = Position(parts.epoch, digest.since), Position(parts.epoch, revision)
        content.add(Frame(ACCOUNT, before, after, encode_delta_frame(ACCOUNT, parts)))
        stored = content.begin_audit(revision)
        return (
            self.erased_revision() > digest.since
            or stored.transfers != digest.transfers
            or (self.revision == revision and digest.balance not in (None, stored.balance))
        )

    def add_transfer(self, name: str, amount: int) -> None:
        total = int(self.transfers()[-1].total) if self.transfers() else 0
        self.changes.append(
            TransferView(
                TransferId(name),
                str(amount),
                str(total + amount),
                WHEN,
                Revision(self.revision + 1),
                "transfers/0@1",
            )
        )

    def add_balance(self) -> None:
        """Adds the balance after the next transfer that has none yet; the first balance opens the account."""
        balances = len(self.balances())
        transfers = self.transfers()
        transfer = transfers[balances - 1] if 0 < balances <= len(transfers) else None
        if balances and not transfer:
            return
        total, name = (transfer.total, transfer.id) if transfer else ("0", TransferId(""))
        drift = "0" if transfer else None
        revision = Revision(self.revision + 1)
        self.changes.append(BalanceView(total, "EUR", balances, revision, name, "c", "0", drift, "0", None))


class Projection:
    """Keeps all epochs, so that every state that a client shows can be looked up."""

    def __init__(self, accounts: list[AccountId]) -> None:
        self.accounts = accounts
        self.epochs: list[dict[AccountId, AccountHistory]] = [
            {account: AccountHistory() for account in accounts}
        ]
        self._lost: dict[tuple[Epoch, AccountId], AccountHistory] = {}  # with the changes that were lost
        self._transfers = 0
        self.forged: set[AccountId] = set()  # accounts with deltas that are not of the projection

    @property
    def epoch(self) -> Epoch:
        return Epoch(f"{len(self.epochs):016x}")

    def current(self, account: AccountId) -> AccountHistory:
        return self.epochs[-1][account]

    def at(self, position: Position, account: AccountId) -> AccountHistory:
        """The history of an account in the position's epoch, with what was lost."""
        history = self.epochs[int(position.epoch, 16) - 1][account]
        return self._lost.get((position.epoch, account), history)

    def may_replace(self, account: AccountId, epoch: Epoch) -> bool:
        """Returns whether a gateway relayed what Postgres does not have. It may then replace any state."""
        return account in self.forged or (epoch, account) in self._lost

    def was_erased(self, account: AccountId) -> bool:
        """Returns whether the account was ever erased, even if the erasure was lost."""
        histories = [*(epoch[account] for epoch in self.epochs), *self._lost.values()]
        return any(history.erased_revision() for history in histories)

    @property
    def has_lost(self) -> bool:
        """Whether commits of this epoch were lost. No other commit follows before the next epoch."""
        return any(epoch == self.epoch for epoch, _ in self._lost)

    def lose(self, account: AccountId, count: int) -> None:
        """Goes back within the epoch: loses the last commits of an account."""
        history = self.current(account)
        self._lost[self.epoch, account] = history
        self.epochs[-1][account] = AccountHistory(history.changes[: max(0, history.revision - count)])

    def erase(self, account: AccountId) -> None:
        self.current(account).changes.append(Erasure())

    def change(self, account: AccountId, is_transfer: bool, amount: int) -> None:
        history = self.current(account)
        if is_transfer:
            self._transfers += 1
            history.add_transfer(f"t{self._transfers}", amount)
        else:
            history.add_balance()

    def rebuild(self, same_revisions: bool = False) -> None:
        """Starts a new epoch with the same transfers. Revisions change, unless `same_revisions`."""
        rebuilt: dict[AccountId, AccountHistory] = {}
        for account, old in self.epochs[-1].items():
            rebuilt[account] = new = AccountHistory(list(old.changes) if same_revisions else [])
            for transfer in [] if same_revisions else old.transfers():
                new.add_transfer(transfer.id, int(transfer.amount))
        self.epochs.append(rebuilt)

    # --- the frames that a correct gateway sends

    def recover(self, account: AccountId, position: Position | None) -> list[Snapshot | DeltaFrame]:
        """The frames for a client that subscribes at `position` (docs/guarantees.md#recovery)."""
        revision = self.current(account).revision
        if position is None:
            return [self.snapshot(account, "subscribed")]
        if position.epoch != self.epoch:
            return [self.snapshot(account, "epoch")]
        if position.revision > revision or position.revision < self.current(account).erased_revision():
            return [self.snapshot(account, "ahead")]
        if revision - position.revision > RECOVERY_MAX_REVISIONS:
            return [self.snapshot(account, "too_far", Gap(position.revision, revision))]
        return list(self.pages(account, position.revision))

    def snapshot(self, account: AccountId, reason: SnapshotReason, gap: Gap | None = None) -> Snapshot:
        history = self.current(account)
        newest = history.transfers()[: -SNAPSHOT_TRANSFERS - 1 : -1]
        frame = Snapshot(
            channel_name(account),
            self.epoch,
            history.revision,
            reason,
            history.balance(),
            newest,
            None,
            None,
        )
        return replace(frame, gap=gap) if gap else frame

    def pages(self, account: AccountId, from_: Revision) -> list[DeltaFrame]:
        history = self.current(account)
        frames = []
        missing = history.transfers(from_)
        while len(missing) > PAGE_TRANSFERS:
            page, missing = missing[:PAGE_TRANSFERS], missing[PAGE_TRANSFERS:]
            frames.append(
                DeltaFrame(channel_name(account), self.epoch, from_, page[-1].revision, page, WHEN, more=True)
            )
            from_ = page[-1].revision
        if from_ < history.revision:
            frames.append(self.delta(account, from_))
        return frames

    def delta(self, account: AccountId, from_: Revision) -> DeltaFrame:
        """The delta from this revision to the current revision."""
        history = self.current(account)
        return DeltaFrame(
            channel_name(account),
            self.epoch,
            from_,
            history.revision,
            history.transfers(from_),
            WHEN,
            balance=history.balance(),
        )
