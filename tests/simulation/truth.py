"""A model of the truth: what Postgres would hold of some accounts, and every state it ever had."""

from dataclasses import dataclass, field

from msgspec.structs import replace

from livebalance.wire.frame import DeltaFrame, Gap, Snapshot
from livebalance.wire.identity import AccountId, Position, Revision, TransferId, channel_name
from livebalance.wire.identity import Epoch as EpochName
from livebalance.wire.views import BalanceView, TransferView

WHEN = "2026-11-24T17:20:00.000Z"
SNAPSHOT_TRANSFERS = 3  # so few that a snapshot where deltas were due leaves something out
PAGE_TRANSFERS = 2
RESUME_MAX = 12

Change = TransferView | BalanceView


@dataclass
class History:
    """The changes of one account inside one epoch: the n-th made revision n."""

    changes: list[Change] = field(default_factory=list)

    @property
    def revision(self) -> Revision:
        return Revision(len(self.changes))

    def transfers(self, after: int = 0, upto: int | None = None) -> list[TransferView]:
        return [c for c in self.changes[after:upto] if isinstance(c, TransferView)]

    def balance(self, upto: int | None = None) -> BalanceView | None:
        return next((c for c in reversed(self.changes[:upto]) if isinstance(c, BalanceView)), None)

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
        """The next balance record: of the first transfer that has none yet, else it opens the account."""
        done = sum(isinstance(c, BalanceView) for c in self.changes)
        transfers = self.transfers()
        named = transfers[done - 1] if 0 < done <= len(transfers) else None
        if done and not named:
            return
        total, name = (named.total, named.id) if named else ("0", TransferId(""))
        revision = Revision(self.revision + 1)
        self.changes.append(
            BalanceView(total, "EUR", done, revision, name, "c", "0", "0" if named else None, "0", None)
        )


class Truth:
    """All epochs are kept, so that whatever a client shows can be looked up."""

    def __init__(self, accounts: list[AccountId]) -> None:
        self.accounts = accounts
        self.epochs: list[dict[AccountId, History]] = [{account: History() for account in accounts}]
        self._transfers = 0

    @property
    def epoch(self) -> EpochName:
        return self.name(len(self.epochs) - 1)

    @staticmethod
    def name(index: int) -> EpochName:
        return EpochName(f"{index + 1:016x}")

    def now(self, account: AccountId) -> History:
        return self.epochs[-1][account]

    def at(self, position: Position) -> dict[AccountId, History]:
        return self.epochs[int(position.epoch, 16) - 1]

    def change(self, account: AccountId, transfer: bool, amount: int) -> None:
        history = self.now(account)
        if transfer:
            self._transfers += 1
            history.add_transfer(f"t{self._transfers}", amount)
        else:
            history.add_balance()

    def rebuild(self, alike: bool = False) -> None:
        """A new epoch: the same transfers; unless `alike` they interleave otherwise, so revisions differ."""
        rebuilt: dict[AccountId, History] = {}
        for account, old in self.epochs[-1].items():
            rebuilt[account] = new = History(list(old.changes) if alike else [])
            for transfer in [] if alike else old.transfers():
                new.add_transfer(transfer.id, int(transfer.amount))
        self.epochs.append(rebuilt)

    # --- the frames a right gateway makes of it

    def answer(self, account: AccountId, position: Position | None) -> list[Snapshot | DeltaFrame]:
        """Rule (design): the catch-up of a client at `position`."""
        mine = self.now(account).revision
        if position is None:
            return [self.snapshot(account, "subscribed")]
        if position.epoch != self.epoch:
            return [self.snapshot(account, "epoch")]
        if position.revision > mine:
            return [self.snapshot(account, "ahead")]
        if mine - position.revision > RESUME_MAX:
            return [self.snapshot(account, "too_far", Gap(position.revision, mine))]
        return list(self.pages(account, position.revision))

    def snapshot(self, account: AccountId, reason: str, gap: Gap | None = None) -> Snapshot:
        history = self.now(account)
        newest = history.transfers()[: -SNAPSHOT_TRANSFERS - 1 : -1]
        frame = Snapshot(
            channel_name(account),
            self.epoch,
            history.revision,
            reason,  # type: ignore[arg-type] # one of the four, by its callers
            history.balance(),
            newest,
            None,
            None,
        )
        return replace(frame, gap=gap) if gap else frame

    def pages(self, account: AccountId, from_: Revision) -> list[DeltaFrame]:
        history = self.now(account)
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
        history = self.now(account)
        return DeltaFrame(
            channel_name(account),
            self.epoch,
            from_,
            history.revision,
            history.transfers(from_),
            WHEN,
            balance=history.balance(),
        )
