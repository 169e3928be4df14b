"""A store in memory that accepts the same rows as Postgres, and returns what Postgres would."""

import sys

from livebalance.projector.fold.account import Account, account_from_row
from livebalance.projector.fold.erasures import overtaken_erasures
from livebalance.projector.fold.fold import FoldResult, TransferKey, batch_rows, fold
from livebalance.projector.fold.records import Incoming
from livebalance.readmodel.rows import (
    BalanceRow,
    BatchRows,
    ListedTransfer,
    QuarantineRow,
    StoredBalance,
    TransferRow,
)
from livebalance.wire.identity import AccountId
from livebalance.wire.money import Money, parse_money


def _money(text: str | None) -> Money | None:
    return None if text is None else parse_money(text)


def stored_balance(row: BalanceRow) -> StoredBalance:
    """Returns what a projector reads after it wrote `row`."""
    return StoredBalance(
        row.account,
        row.revision,
        row.lane,
        _money(row.balance),
        row.version,
        row.transfer_id,
        row.client_id,
        _money(row.opening),
        parse_money(row.posted_total),
        row.transfer_count,
        _money(row.half_applied),
        row.unverified_since,
        row.disputed_since,
        row.disputed_why,
        row.transfers_offset,
        row.balances_offset,
        row.recorded_at,
        row.opening_known,
        row.erased_transfers_before,
        row.erased_balances_before,
        row.half_applied_since,
        row.erased_offset,
    )


class MemoryStore:
    """Raises AssertionError where a constraint of the tables, or the fence, would reject a row."""

    def __init__(self) -> None:
        self.balances: dict[AccountId, BalanceRow] = {}
        self.transfers: list[TransferRow] = []
        self.quarantined: list[QuarantineRow] = []

    def write(self, batch_rows: BatchRows) -> None:
        for row in batch_rows.balances:
            before = self.balances.get(row.account)
            assert row.from_ == (before.revision if before else 0)
            assert row.revision > row.from_
            self.balances[row.account] = row
        self.transfers = [row for row in self.transfers if row.account not in batch_rows.erased]
        for transfer in batch_rows.transfers:
            others = [row for row in self.transfers if row.account == transfer.account]
            assert transfer.transfer_id not in {row.transfer_id for row in others}
            assert transfer.revision not in {row.revision for row in others}
            self.transfers.append(transfer)
        self.quarantined.extend(batch_rows.quarantined)

    def accounts(self) -> dict[AccountId, Account]:
        return {id_: account_from_row(stored_balance(row)) for id_, row in self.balances.items()}

    def listed(self) -> dict[TransferKey, ListedTransfer]:
        return {
            (row.account, row.transfer_id): ListedTransfer(
                parse_money(row.amount), row.occurred_at, parse_money(row.total)
            )
            for row in self.transfers
        }


def fold_and_write(store: MemoryStore, batch: list[Incoming]) -> FoldResult:
    """Folds a batch onto the stored state, and writes the result."""
    accounts = store.accounts()
    first = overtaken_erasures(batch, accounts)
    survivors = [row for row in store.transfers if row.source_offset >= first.get(row.account, sys.maxsize)]
    folded = fold(batch, accounts, store.listed(), survivors=survivors)
    store.write(batch_rows([], folded, "EUR"))
    return folded
