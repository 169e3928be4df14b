"""What a batch makes of the accounts it touches. A record is applied, counted or quarantined."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from livebalance.projector.fold.account import Account
from livebalance.projector.fold.lane import LaneStep
from livebalance.projector.fold.records import Erasure, Incoming, Rejected, quarantined
from livebalance.readmodel.rows import BatchRows, ListedTransfer, QuarantineRow, ReplayOutcome, TransferRow
from livebalance.wire.identity import AccountId, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import NOTHING, Money
from livebalance.wire.timestamp import Millis

Named = tuple[AccountId, TransferId]

OTHER_TRANSFER = "this transfer id stands for another transfer"
OTHER_BALANCE = "this version has another balance"
OLD_BALANCE = "a lower version names a transfer that is not listed"


@dataclass(slots=True)
class Change:
    """One account's part of a batch: from `from_` to `account.revision`."""

    from_: Revision
    account: Account
    transfers: list[TransferRow] = field(default_factory=list)
    erased: bool = False


@dataclass(slots=True)
class FoldResult:
    """`changes` holds every account whose revision moved, and no other."""

    changes: dict[AccountId, Change]
    listed: dict[Named, ListedTransfer]  # by this batch
    quarantined: list[QuarantineRow]
    applied: int
    duplicates: int
    stale: int  # balances no newer than the one held, and not the same


def accounts_of(batch: Iterable[Incoming]) -> set[AccountId]:
    return {one.what.account for one in batch if not isinstance(one.what, Rejected)}


def named_by(batch: Sequence[Incoming]) -> set[Named]:
    """The transfers whose listing decides what the batch does."""
    return shown_by(batch) | {
        (one.what.account, one.what.id) for one in batch if isinstance(one.what, Transfer)
    }


def shown_by(batch: Iterable[Incoming]) -> set[Named]:
    """The transfers that its balances name."""
    balances = (one.what for one in batch if isinstance(one.what, Balance))
    return {(balance.account, balance.transfer_id) for balance in balances if balance.transfer_id}


def fold(
    batch: Iterable[Incoming],
    accounts: Mapping[AccountId, Account],
    listed: Mapping[Named, ListedTransfer],
    cut: Collection[Lane] = (),
) -> FoldResult:
    """`accounts` and `listed`: those of the batch that exist; neither is changed.

    Lanes in `cut` were not read from their start: balances there may name what never will be listed.
    """
    return _Fold(accounts, listed, cut).over(batch)


def replay(
    batch: Iterable[Incoming],
    accounts: Mapping[AccountId, Account],
    listed: Mapping[Named, ListedTransfer],
    cut: Collection[Lane] = (),
) -> tuple[FoldResult, list[ReplayOutcome]]:
    """As `fold`, over records out of quarantine; and what became of each. None is put aside anew."""
    folding = _Fold(accounts, listed, cut, late=True)
    outcomes = [folding.outcome(one) for one in batch]
    return folding.folded(), outcomes


class _Fold:
    """`late`: records of higher offsets may have been applied before these."""

    def __init__(
        self,
        accounts: Mapping[AccountId, Account],
        listed: Mapping[Named, ListedTransfer],
        cut: Collection[Lane],
        *,
        late: bool = False,
    ) -> None:
        self._accounts, self._before, self._cut, self._late = accounts, listed, cut, late
        self._listed: dict[Named, ListedTransfer] = {}
        self._touched: dict[AccountId, Change] = {}
        self._quarantined: list[QuarantineRow] = []
        self._duplicates = self._stale = 0

    def over(self, batch: Iterable[Incoming]) -> FoldResult:
        for one in batch:
            self._take(one)
        return self.folded()

    def outcome(self, one: Incoming) -> ReplayOutcome:
        """Of the next record; if it is refused, it is held already."""
        duplicates, stale = self._duplicates, self._stale
        self._take(one)
        if self._quarantined:
            return ReplayOutcome("held", self._quarantined.pop().reason)
        if self._duplicates > duplicates:
            return ReplayOutcome("duplicate")
        return ReplayOutcome("stale" if self._stale > stale else "applied")

    def folded(self) -> FoldResult:
        changes = {
            id_: change for id_, change in self._touched.items() if change.account.revision != change.from_
        }
        applied = sum(change.account.revision - change.from_ for change in changes.values())
        return FoldResult(changes, self._listed, self._quarantined, applied, self._duplicates, self._stale)

    def _take(self, one: Incoming) -> None:
        what = one.what
        if isinstance(what, Rejected):
            self._quarantined.append(quarantined(one, what.reason))
            return
        change = self._change(what.account, one)
        if change.account.lane != one.lane:
            self._quarantined.append(quarantined(one, f"the account is of lane {change.account.lane}"))
        elif isinstance(what, Transfer):
            self._post(change, what, one)
        elif isinstance(what, Balance):
            self._show(change, what, one)
        else:
            self._erase(change, what, one)

    def _change(self, id_: AccountId, one: Incoming) -> Change:
        change = self._touched.get(id_)
        if change is None:
            known = self._accounts.get(id_)
            account = Account(id_, one.lane) if known is None else known.clone()
            change = self._touched[id_] = Change(account.revision, account)
        return change

    def _post(self, change: Change, transfer: Transfer, one: Incoming) -> None:
        account = change.account
        earlier = self._find(change, transfer.id)
        if earlier is None:
            account.post(transfer, self._highest(account.transfers_offset, one), one.at)
            total, at = account.posted_total, Millis(transfer.time_ms)
            self._listed[transfer.account, transfer.id] = ListedTransfer(transfer.amount, at, total)
            change.transfers.append(
                TransferRow(
                    account.id,
                    account.revision,
                    transfer.id,
                    str(transfer.amount),
                    str(total),
                    at,
                    account.recorded_at,
                    account.lane,
                    one.offset,
                )
            )
        elif (earlier.amount, earlier.occurred_at) == (transfer.amount, transfer.time_ms):
            self._duplicates += 1
        else:
            self._quarantined.append(quarantined(one, OTHER_TRANSFER))
            account.contradict(OTHER_TRANSFER, one.at)

    def _show(self, change: Change, balance: Balance, one: Incoming) -> None:
        account = change.account
        if account.version is None or balance.version > account.version:
            offset = self._highest(account.balances_offset, one)
            account.show(balance, self._total(change, balance), offset, one.at)
        elif account.shows(balance):
            self._duplicates += 1
        else:
            self._stale += 1
            if balance.version == account.version:
                account.contradict(OTHER_BALANCE, one.at)
            elif self._is_unheard_of(change, balance):
                account.contradict(OLD_BALANCE, one.at)

    def _is_unheard_of(self, change: Change, balance: Balance) -> bool:
        """An old balance that comes after newer ones, and names what should have been listed before it."""
        if self._late or change.account.lane in self._cut:
            return False
        return self._total(change, balance) is None

    def _highest(self, seen: Offset | None, one: Incoming) -> Offset:
        return max(seen, one.offset) if self._late and seen is not None else one.offset

    def _find(self, change: Change, id_: TransferId) -> ListedTransfer | None:
        found = self._listed.get((change.account.id, id_))
        if found is None and not change.erased:
            return self._before.get((change.account.id, id_))
        return found

    def _total(self, change: Change, balance: Balance) -> Money | None:
        """The running sum at the transfer the balance names; the opening names none and stands at nothing."""
        if not balance.transfer_id:
            return None if change.account.lane in self._cut else NOTHING
        named = self._find(change, balance.transfer_id)
        return None if named is None else named.total

    def _erase(self, change: Change, erasure: Erasure, one: Incoming) -> None:
        change.account.erase(one.offset, one.at)
        change.erased = True
        change.transfers.clear()
        key = erasure.account.encode()
        self._quarantined = [
            row._replace(state="erased") if row.key == key else row for row in self._quarantined
        ]
        for named in [named for named in self._listed if named[0] == erasure.account]:
            del self._listed[named]


def batch_rows(
    steps: Sequence[LaneStep],
    folded: FoldResult,
    currency: str | None,
    replayed: Sequence[tuple[int, ReplayOutcome]] = (),
) -> BatchRows:
    changes = folded.changes.values()
    return BatchRows(
        [one.move for one in steps],
        [change.account.row(change.from_, currency) for change in changes],
        [change.account.id for change in changes if change.erased],
        [row for change in changes for row in change.transfers],
        folded.quarantined,
        replayed,
    )
