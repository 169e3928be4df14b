"""Single rules of the fold, by example."""

import pytest

from livebalance.projector.fold.account import DRIFT, Account
from livebalance.projector.fold.fold import (
    OLD_BALANCE,
    OTHER_BALANCE,
    OTHER_TRANSFER,
    FoldResult,
    account_ids,
    batch_rows,
    fold,
    keys_named_by_balances,
    transfer_keys,
)
from livebalance.projector.fold.records import Content
from livebalance.readmodel.rows import BatchRows, ReplayOutcome, TransferRow
from livebalance.wire.identity import AccountId, Lane, Offset, Revision, TransferId
from livebalance.wire.kafka.raw_record import Erasure, Rejected
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import LANE, incoming, incoming_records
from tests.unit.projector.memory_store import MemoryStore, fold_and_write
from tests.unit.projector.test_lane import make_lane, make_step

A = AccountId("a")


def fold_records(*records: Content) -> tuple[FoldResult, MemoryStore]:
    store = MemoryStore()
    return fold_and_write(store, incoming_records(records, [*range(10, 10 + len(records))])), store


def transfer(id_: str, unscaled: int, scale: int = 2, time: int = 5) -> Transfer:
    return Transfer(TransferId(id_), A, Money(unscaled, scale), time)


def balance(version: int, id_: str, unscaled: int, scale: int = 2) -> Balance:
    return Balance(A, "c", TransferId(id_), Money(unscaled, scale), version)


def test_balance_before_its_transfer_is_unverified_until_the_transfer() -> None:
    _, store = fold_records(balance(0, "", 100), balance(1, "t", 150))
    assert (store.balances[A].half_applied, store.balances[A].drift) == (None, None)
    assert store.balances[A].unverified_since == 11
    fold_and_write(store, [incoming(transfer("t", 50), 1, 20)])
    row = store.balances[A]
    assert (row.opening, row.half_applied, row.drift) == ("1.00", "0.00", "0.00")
    assert (row.unverified_since, row.revision) == (None, 3)


def test_transfer_after_the_balance_is_half_applied() -> None:
    _, store = fold_records(balance(0, "", 0), transfer("t", 50), balance(1, "t", 50), transfer("u", 7))
    assert (store.balances[A].half_applied, store.balances[A].drift) == ("0.07", "0.00")


def test_opening_follows_from_the_first_verified_balance() -> None:
    _, store = fold_records(balance(9, "t", 500), transfer("t", 50))
    assert store.balances[A].opening == "4.50"


def test_account_of_cut_lane_is_checked_from_its_first_verified_transfer() -> None:
    """Version 0 is no opening there, because earlier transfers are not listed (decision 15)."""
    batch: list[Content] = [
        balance(0, "", 100),
        balance(7, "gone", 900),
        transfer("t", 50),
        balance(8, "t", 950),
        balance(6, "gone too", 800),
        transfer("u", 20),
        balance(9, "u", 970),
    ]
    records = incoming_records(batch, [*range(10, 17)])
    account = fold(records[:3], {}, {}, {Lane(3)}).changes[A].account
    assert (account.opening, account.drift, account.unverified_since) == (None, None, 12)
    folded = fold(records, {}, {}, {Lane(3)})
    account = folded.changes[A].account
    assert (str(account.opening), str(account.drift), account.disputed_since) == ("9.00", "0.00", None)
    assert (folded.duplicates, folded.stale, folded.quarantined) == (0, 1, [])
    assert fold(records, {}, {}).changes[A].account.disputed_since == 13


def test_sum_has_the_larger_scale() -> None:
    _, store = fold_records(transfer("t", 5, 0), transfer("u", 5, 3))
    assert [row.total for row in store.transfers] == ["5", "5.005"]
    assert store.balances[A].posted_total == "5.005"


def test_sum_may_exceed_int64() -> None:
    _, store = fold_records(transfer("t", 2**63 - 1, 0), transfer("u", 2**63 - 1, 0))
    assert store.balances[A].posted_total == str(2**64 - 2)


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([transfer("t", 1), transfer("t", 2)], OTHER_TRANSFER),
        ([transfer("t", 1), transfer("t", 1, time=6)], OTHER_TRANSFER),
        ([balance(2, "t", 1), balance(2, "t", 2)], OTHER_BALANCE),
        ([balance(2, "t", 1), balance(1, "u", 2)], OLD_BALANCE),
        ([balance(0, "", 0), transfer("t", 1), balance(1, "t", 2)], DRIFT),
        ([balance(0, "", 0), transfer("t", 1), balance(1, "t", 1), balance(2, "t", 2)], DRIFT),
    ],
)
def test_contradiction_disputes_the_account(records: list[Content], reason: str) -> None:
    folded, store = fold_records(*records)
    row = store.balances[A]
    assert (row.disputed_why, row.disputed_since) == (reason, 9 + len(records))
    assert folded.stale == (reason in (OLD_BALANCE, OTHER_BALANCE))
    assert row.revision == len(records)


def test_disputed_account_continues_and_stays_disputed() -> None:
    folded, store = fold_records(transfer("t", 1), transfer("t", 2), transfer("t", 3), transfer("u", 4))
    row = store.balances[A]
    assert (row.revision, row.disputed_since, row.posted_total) == (3, 11, "0.05")
    assert [row.reason for row in folded.quarantined] == [OTHER_TRANSFER] * 2


def test_repeated_records_are_duplicates() -> None:
    records: list[Content] = [balance(0, "", 0), transfer("t", 1), balance(1, "t", 1)]
    folded, store = fold_records(*records, *records)
    assert (folded.duplicates, folded.stale, store.balances[A].revision) == (2, 1, 3)


def test_erasure_keeps_the_revision_growing() -> None:
    folded, store = fold_records(balance(0, "", 9), transfer("t", 1), Erasure(A), transfer("t", 2))
    row = store.balances[A]
    assert (row.revision, row.balance, row.opening, row.posted_total) == (4, None, None, "0.02")
    assert folded.changes[A].erased
    assert [row.amount for row in store.transfers] == ["0.02"]


def test_record_of_another_lane_is_quarantined() -> None:
    stored = {A: Account(A, Lane(0), Revision(1))}
    folded = fold([incoming(transfer("t", 1), 0, 0)], stored, {})
    assert folded.changes == {}
    assert folded.quarantined[0].reason == "the account belongs to lane 0"


def test_opening_balance_names_no_transfer() -> None:
    assert transfer_keys([incoming(balance(0, "", 1), 0, 0)]) == set()


def test_keys_and_accounts_of_a_batch() -> None:
    batch = incoming_records([transfer("t", 1), balance(1, "u", 1), Rejected("bad")], [1, 2, 3])
    assert account_ids(batch) == {A}
    assert keys_named_by_balances(batch) == {(A, "u")}
    assert transfer_keys(batch) == {(A, "t"), (A, "u")}


def test_change_has_the_account_before_and_the_offsets_of_its_records() -> None:
    before = Account(A, LANE, Revision(4))
    folded = fold([incoming(transfer("t", 5), 8, 20), incoming(balance(1, "t", 5), 9, 21)], {A: before}, {})
    change = folded.changes[A]
    assert (change.from_, change.before, before.revision) == (4, before, 4)
    assert (change.account.transfers_offset, change.account.balances_offset) == (8, 9)
    [row] = change.transfers
    expected = TransferRow(
        A, Revision(5), TransferId("t"), "0.05", "0.05", Millis(5), Millis(20), LANE, Offset(8)
    )
    assert row == expected


def test_every_stale_balance_is_counted() -> None:
    folded, _ = fold_records(balance(2, "t", 1), balance(1, "u", 2), balance(0, "", 3))
    assert folded.stale == 2


def test_erasure_has_its_offset_and_its_revision() -> None:
    change = fold_records(balance(0, "", 9), Erasure(A))[0].changes[A]
    assert (change.erased_revision, change.account.balances_offset) == (2, 1)
    assert change.account.erased_offset == 0  # no transfer of the lane was read


def test_rows_of_a_batch_are_those_of_its_changes() -> None:
    folded = fold(incoming_records([balance(1, "u", 9), Rejected("bad")], [10, 11]), {}, {})
    other = make_step(make_lane(), [], [])
    other = other._replace(move=other.move._replace(lane=Lane(4)))
    lane_step = make_step(make_lane(), [], [])
    replayed = [(7, ReplayOutcome("applied"))]
    rows = batch_rows([lane_step, other], folded, "EUR", replayed, all_looked_up=True)
    account = folded.changes[A].account
    assert rows == BatchRows(
        [lane_step.move._replace(unverified=1, batches=1), other.move],
        [account.row(Revision(0), "EUR", Revision(0))],
        [],
        [],
        folded.quarantined,
        replayed,
        replaces_erased=True,
        sets=[],
    )
    assert len(folded.quarantined) == 1
    assert batch_rows([], folded, "EUR").replaces_erased is False
    erased = fold([incoming(Erasure(A), 1, 12)], {A: account}, {})
    [row] = batch_rows([], erased, "EUR").balances
    assert row.erased_revision == 2
