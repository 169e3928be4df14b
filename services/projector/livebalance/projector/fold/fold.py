"""Folds a batch of records into changes of accounts. Each record is applied, counted or quarantined."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from livebalance.projector.fold.account import Account, ErasedBounds
from livebalance.projector.fold.erasures import erasure_bounds, is_covered
from livebalance.projector.fold.lane import LaneStep
from livebalance.projector.fold.records import Incoming
from livebalance.projector.fold.sets import SetIndex, set_differences
from livebalance.projector.fold.totals import lane_differences
from livebalance.readmodel.rows import (
    BatchRows,
    ListedTransfer,
    QuarantineRow,
    ReplayOutcome,
    Totals,
    TransferRow,
    quarantine_row,
)
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.lifecycle import Erased, Opened
from livebalance.wire.kafka.raw_record import Erasure, Rejected
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import ZERO, Money, parse_money
from livebalance.wire.timestamp import Millis

TransferKey = tuple[AccountId, TransferId]

OTHER_TRANSFER = "this transfer id stands for another transfer"
OTHER_BALANCE = "this version has another balance"
OTHER_OPENING = "the account was opened with another balance before"
OLD_BALANCE = "a lower version names a transfer that is not listed"

NO_SETS = SetIndex()


@dataclass(slots=True)
class Change:
    """How a batch changes an account: from revision `from_` to `account.revision`."""

    from_: Revision
    account: Account
    before: Account | None = None  # None: it did not exist
    transfers: list[TransferRow] = field(default_factory=list)
    erased_revision: Revision = INITIAL_REVISION  # of the last erasure in the batch; 0: there was none

    @property
    def erased(self) -> bool:
        """Whether the batch erases the account."""
        return self.erased_revision != INITIAL_REVISION


@dataclass(slots=True)
class FoldResult:
    """The result of a fold. `changes` holds exactly the accounts whose revision increased."""

    changes: dict[AccountId, Change]
    newly_listed: dict[TransferKey, ListedTransfer]
    quarantined: list[QuarantineRow]
    applied: int  # records that increased a revision
    duplicates: int
    stale: int  # balances whose version is not higher than the current, and whose content differs
    erased: int  # transfers and balances that an erasure covers

    @property
    def changed_lanes(self) -> set[Lane]:
        """The lanes of the changed accounts."""
        return {change.account.lane for change in self.changes.values()}


def account_ids(batch: Iterable[Incoming]) -> set[AccountId]:
    """Returns the accounts of a batch."""
    return {record.content.account for record in batch if not isinstance(record.content, Rejected)}


def transfer_keys(batch: Sequence[Incoming]) -> set[TransferKey]:
    """Returns the keys of all transfers in a batch, and of those that its balances name."""
    return keys_named_by_balances(batch) | {
        (record.content.account, record.content.id)
        for record in batch
        if isinstance(record.content, Transfer)
    }


def keys_named_by_balances(batch: Iterable[Incoming]) -> set[TransferKey]:
    """Returns the keys of the transfers that the balances of a batch name."""
    balances = (record.content for record in batch if isinstance(record.content, Balance))
    return {(balance.account, balance.transfer_id) for balance in balances if balance.transfer_id}


def fold(
    batch: Iterable[Incoming],
    accounts: Mapping[AccountId, Account],
    listed: Mapping[TransferKey, ListedTransfer],
    cut_lanes: Collection[Lane] = (),
    transfers_next: Mapping[Lane, Offset] = MappingProxyType({}),
    *,
    survivors: Sequence[TransferRow] = (),
) -> FoldResult:
    """Folds a batch into changes. Changes none of its arguments.

    Args:
        batch: the records, in the order in which they are applied.
        accounts: the stored accounts among those of the batch.
        listed: the stored transfers among those of the batch; see `transfer_keys`.
        cut_lanes: lanes that were not read from their start. Their balances may name transfers that will
            never be listed (decision 15).
        transfers_next: the offset of the next transfer of each lane, before the batch.
        survivors: the stored transfers of `overtaken_erasures`, in the order of their offsets.
    """
    return _Fold(accounts, listed, cut_lanes, transfers_next, survivors).fold(batch)


def replay(
    batch: Iterable[Incoming],
    accounts: Mapping[AccountId, Account],
    listed: Mapping[TransferKey, ListedTransfer],
    cut_lanes: Collection[Lane] = (),
) -> tuple[FoldResult, list[ReplayOutcome]]:
    """Folds records out of the quarantine, as `fold` does. Also returns the outcome of each record.

    Rejected records produce no new quarantine rows.
    """
    folding = _Fold(accounts, listed, cut_lanes, {}, (), replaying=True)
    outcomes = [folding.replay(record) for record in batch]
    return folding.result(), outcomes


class _Fold:
    """A fold in progress. `replaying`: records of higher offsets may have been applied already."""

    def __init__(
        self,
        accounts: Mapping[AccountId, Account],
        listed: Mapping[TransferKey, ListedTransfer],
        cut_lanes: Collection[Lane],
        transfers_next: Mapping[Lane, Offset],
        survivors: Sequence[TransferRow],
        *,
        replaying: bool = False,
    ) -> None:
        self._accounts, self._listed, self._cut_lanes = accounts, listed, cut_lanes
        self._transfers_next, self._survivors = dict(transfers_next), survivors
        self._replaying = replaying
        self._newly_listed: dict[TransferKey, ListedTransfer] = {}
        self._changes: dict[AccountId, Change] = {}
        self._quarantined: list[QuarantineRow] = []
        self._duplicates = self._stale = self._erased = 0

    def fold(self, batch: Iterable[Incoming]) -> FoldResult:
        for record in batch:
            self._apply(record)
        return self.result()

    def replay(self, record: Incoming) -> ReplayOutcome:
        duplicates, stale, erased = self._duplicates, self._stale, self._erased
        self._apply(record)
        if self._quarantined:
            return ReplayOutcome("held", self._quarantined.pop().reason)
        if self._duplicates > duplicates:
            return ReplayOutcome("duplicate")
        if self._erased > erased:
            return ReplayOutcome("erased")
        return ReplayOutcome("stale" if self._stale > stale else "applied")

    def result(self) -> FoldResult:
        changes = {
            id_: change for id_, change in self._changes.items() if change.account.revision != change.from_
        }
        applied = sum(change.account.revision - change.from_ for change in changes.values())
        return FoldResult(
            changes,
            self._newly_listed,
            self._quarantined,
            applied,
            self._duplicates,
            self._stale,
            self._erased,
        )

    def _apply(self, record: Incoming) -> None:
        content = record.content
        if isinstance(content, Rejected):
            self._quarantined.append(quarantine_row(record.raw, content.reason))
            return
        change = self._change(content.account, record)
        if change.account.lane != record.lane:
            reason = f"the account belongs to lane {change.account.lane}"
            self._quarantined.append(quarantine_row(record.raw, reason))
        elif isinstance(content, Transfer):
            self._apply_transfer(change, content, record)
        elif isinstance(content, Balance):
            self._apply_balance(change, content, record)
        elif isinstance(content, Opened):
            self._apply_opening(change, content, record)
        else:
            self._apply_erasure(change, content, record)

    def _change(self, id_: AccountId, record: Incoming) -> Change:
        change = self._changes.get(id_)
        if change is None:
            stored = self._accounts.get(id_)
            account = Account(id_, record.lane) if stored is None else stored.clone()
            change = self._changes[id_] = Change(account.revision, account, stored)
        return change

    def _apply_transfer(self, change: Change, transfer: Transfer, record: Incoming) -> None:
        account = change.account
        self._transfers_next[record.lane] = Offset(record.offset + 1)
        if account.erased is not None and record.offset < account.erased.transfers:
            self._erased += 1
            return
        earlier = self._find_listed(change, transfer.id)
        if earlier is None:
            self._list(change, transfer, record.offset, record.at)
        elif (earlier.amount, earlier.occurred_at) == (transfer.amount, transfer.time_ms):
            self._duplicates += 1
        else:
            self._quarantined.append(quarantine_row(record.raw, OTHER_TRANSFER))
            account.dispute(OTHER_TRANSFER, record.at)

    def _list(self, change: Change, transfer: Transfer, source_offset: Offset, kafka_time: Millis) -> None:
        account = change.account
        offset = self._highest_offset(account.transfers_offset, source_offset)
        account.apply_transfer(transfer, offset, kafka_time)
        total, at = account.posted_total, Millis(transfer.time_ms)
        self._newly_listed[transfer.account, transfer.id] = ListedTransfer(transfer.amount, at, total)
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
                source_offset,
            )
        )

    def _apply_balance(self, change: Change, balance: Balance, record: Incoming) -> None:
        account = change.account
        if account.erased is not None and is_covered(account.erased, record):
            self._erased += 1
        elif account.version is None or balance.version > account.version:
            offset = self._highest_offset(account.balances_offset, record.offset)
            cut = account.lane in self._cut_lanes
            account.apply_balance(balance, self._named_total(change, balance), offset, record.at, cut=cut)
        elif account.has_balance(balance):
            self._duplicates += 1
        else:
            self._stale += 1
            if balance.version == account.version:
                account.dispute(OTHER_BALANCE, record.at)
            elif self._names_missing_transfer(change, balance):
                account.dispute(OLD_BALANCE, record.at)

    def _names_missing_transfer(self, change: Change, balance: Balance) -> bool:
        """Returns whether an outdated balance names a transfer that should be listed by now and is not."""
        if self._replaying or change.account.lane in self._cut_lanes:
            return False
        return self._named_total(change, balance) is None

    def _highest_offset(self, applied: Offset | None, offset: Offset) -> Offset:
        return max(applied, offset) if self._replaying and applied is not None else offset

    def _find_listed(self, change: Change, id_: TransferId) -> ListedTransfer | None:
        transfer = self._newly_listed.get((change.account.id, id_))
        if transfer is None and not change.erased:
            return self._listed.get((change.account.id, id_))
        return transfer

    def _named_total(self, change: Change, balance: Balance) -> Money | None:
        """Returns the running sum at the transfer that the balance names; None if it is not listed.

        An opening balance names no transfer: its sum is 0. In a cut lane the opening is unknown.
        """
        if not balance.transfer_id:
            return None if change.account.lane in self._cut_lanes else ZERO
        transfer = self._find_listed(change, balance.transfer_id)
        return None if transfer is None else transfer.total

    def _apply_opening(self, change: Change, opened: Opened, record: Incoming) -> None:
        """Applies a known opening. In a cut lane it is not the balance before the first transfer listed."""
        account = change.account
        if account.lane in self._cut_lanes:
            return
        if not account.opening_known or account.opening is None:
            account.open(opened.amount, record.at)
        elif account.opening.same_value(opened.amount):
            self._duplicates += 1
        else:
            account.dispute(OTHER_OPENING, record.at)

    def _apply_erasure(self, change: Change, erasure: Erased | Erasure, record: Incoming) -> None:
        """Applies an erasure, which arrives from the lifecycle topic and from the topic of balances."""
        account, bounds = change.account, erasure_bounds(erasure, record.offset)
        if bounds is not None and account.covers(bounds):
            if isinstance(erasure, Erased) and account.opening_known:
                account.forget_opening(record.at)  # it is of before the erasure: both are of the same topic
            else:
                self._duplicates += 1
            return
        if bounds is None and account.erased is not None and record.offset <= account.erased.balances:
            self._duplicates += 1  # read again, after its lane moved to another topic of transfers
            return
        survivors = self._surviving(change, bounds)
        transfers_next = self._transfers_next.get(record.lane, Offset(0))
        offset = record.offset if bounds is None else bounds.balances
        account.erase(bounds, offset, record.at, transfers_next)
        change.erased_revision = account.revision
        self._discard_pending(change, erasure)
        for row in survivors:
            transfer = Transfer(row.transfer_id, row.account, parse_money(row.amount), row.occurred_at)
            self._list(change, transfer, row.source_offset, row.recorded_at)

    def _surviving(self, change: Change, bounds: ErasedBounds | None) -> list[TransferRow]:
        """Returns the transfers from after an erasure that were listed before it arrived."""
        if bounds is None:
            return []
        id_ = change.account.id
        stored = [] if change.erased else [row for row in self._survivors if row.account == id_]
        return [row for row in (*stored, *change.transfers) if row.source_offset >= bounds.transfers]

    def _discard_pending(self, change: Change, erasure: Erased | Erasure) -> None:
        change.transfers.clear()
        kafka_key = erasure.account.encode()
        self._quarantined = [
            row._replace(state="erased") if row.key == kafka_key else row for row in self._quarantined
        ]
        for key in [key for key in self._newly_listed if key[0] == erasure.account]:
            del self._newly_listed[key]


def batch_rows(
    steps: Sequence[LaneStep],
    folded: FoldResult,
    currency: str | None,
    replayed: Sequence[tuple[int, ReplayOutcome]] = (),
    *,
    all_looked_up: bool = False,
    sets: SetIndex = NO_SETS,
) -> BatchRows:
    """Returns the rows to write for a batch, in a single transaction.

    `all_looked_up`: the transfers are known to be new; any that are stored under their ids are erased.
    `sets`: those whose totals are kept.
    """
    changes = folded.changes.values()
    pairs = [(change.before, change.account) for change in changes]
    differences = lane_differences(pairs)
    changed = folded.changed_lanes
    moves = (step.move._replace(batches=int(step.move.lane in changed)) for step in steps)
    return BatchRows(
        [move._replace(**differences.get(move.lane, Totals())._asdict()) for move in moves],
        [change.account.row(change.from_, currency, change.erased_revision) for change in changes],
        [change.account.id for change in changes if change.erased],
        [row for change in changes for row in change.transfers],
        folded.quarantined,
        replayed,
        all_looked_up,
        set_differences(sets, pairs, currency),
    )
