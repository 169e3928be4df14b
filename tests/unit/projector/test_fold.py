"""Single rules of the fold, by example."""

import pytest

from livebalance.projector.fold.account import DRIFT, Account
from livebalance.projector.fold.fold import (
    OLD_BALANCE,
    OTHER_BALANCE,
    OTHER_TRANSFER,
    FoldResult,
    fold,
    transfer_keys,
)
from livebalance.projector.fold.records import Content, Erasure
from livebalance.wire.identity import AccountId, Lane, Revision, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from tests.unit.projector.histories import arrived, numbered
from tests.unit.projector.shelf import Shelf, shelved

A = AccountId("a")


def one(*records: Content) -> tuple[FoldResult, Shelf]:
    shelf = Shelf()
    return shelved(shelf, numbered(records, [*range(10, 10 + len(records))])), shelf


def moved(id_: str, unscaled: int, scale: int = 2, time: int = 5) -> Transfer:
    return Transfer(TransferId(id_), A, Money(unscaled, scale), time)


def shows(version: int, id_: str, unscaled: int, scale: int = 2) -> Balance:
    return Balance(A, "c", TransferId(id_), Money(unscaled, scale), version)


def test_a_balance_before_its_transfer_waits_for_it() -> None:
    _, shelf = one(shows(0, "", 100), shows(1, "t", 150))
    assert (shelf.balances[A].half_applied, shelf.balances[A].drift) == (None, None)
    assert shelf.balances[A].unverified_since == 11
    shelved(shelf, [arrived(moved("t", 50), 1, 20)])
    row = shelf.balances[A]
    assert (row.opening, row.half_applied, row.drift) == ("1.00", "0.00", "0.00")
    assert (row.unverified_since, row.revision) == (None, 3)


def test_a_list_ahead_of_the_balance_is_half_applied() -> None:
    _, shelf = one(shows(0, "", 0), moved("t", 50), shows(1, "t", 50), moved("u", 7))
    assert (shelf.balances[A].half_applied, shelf.balances[A].drift) == ("0.07", "0.00")


def test_an_account_met_late_is_opened_by_its_first_verified_balance() -> None:
    _, shelf = one(shows(9, "t", 500), moved("t", 50))
    assert shelf.balances[A].opening == "4.50"


def test_a_lane_not_read_from_its_start_is_checked_from_its_first_whole_transfer_on() -> None:
    """Its version 0 is no opening: what came between is not in the list."""
    batch: list[Content] = [
        shows(0, "", 100),
        shows(7, "gone", 900),
        moved("t", 50),
        shows(8, "t", 950),
        shows(6, "gone too", 800),
        moved("u", 20),
        shows(9, "u", 970),
    ]
    arrived = numbered(batch, [*range(10, 17)])
    account = fold(arrived[:3], {}, {}, {Lane(3)}).changes[A].account
    assert (account.opening, account.drift, account.unverified_since) == (None, None, 10)
    folded = fold(arrived, {}, {}, {Lane(3)})
    account = folded.changes[A].account
    assert (str(account.opening), str(account.drift), account.disputed_since) == ("9.00", "0.00", None)
    assert (folded.duplicates, folded.stale, folded.quarantined) == (0, 1, [])
    assert fold(arrived, {}, {}).changes[A].account.disputed_since == 13


def test_sums_take_the_larger_scale() -> None:
    _, shelf = one(moved("t", 5, 0), moved("u", 5, 3))
    assert [row.total for row in shelf.transfers] == ["5", "5.005"]
    assert shelf.balances[A].posted_total == "5.005"


def test_sums_may_leave_int64() -> None:
    _, shelf = one(moved("t", 2**63 - 1, 0), moved("u", 2**63 - 1, 0))
    assert shelf.balances[A].posted_total == str(2**64 - 2)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([moved("t", 1), moved("t", 2)], OTHER_TRANSFER),
        ([moved("t", 1), moved("t", 1, time=6)], OTHER_TRANSFER),
        ([shows(2, "t", 1), shows(2, "t", 2)], OTHER_BALANCE),
        ([shows(2, "t", 1), shows(1, "u", 2)], OLD_BALANCE),
        ([shows(0, "", 0), moved("t", 1), shows(1, "t", 2)], DRIFT),
        ([shows(0, "", 0), moved("t", 1), shows(1, "t", 1), shows(2, "t", 2)], DRIFT),
    ],
)
def test_contradictions_dispute_the_account(records: list[Content], why: str) -> None:
    folded, shelf = one(*records)
    row = shelf.balances[A]
    assert (row.disputed_why, row.disputed_since) == (why, 9 + len(records))
    assert folded.stale == (why in (OLD_BALANCE, OTHER_BALANCE))
    assert row.revision == len(records)


def test_a_disputed_account_goes_on_and_stays_disputed() -> None:
    folded, shelf = one(moved("t", 1), moved("t", 2), moved("t", 3), moved("u", 4))
    row = shelf.balances[A]
    assert (row.revision, row.disputed_since, row.posted_total) == (3, 11, "0.05")
    assert [held.reason for held in folded.quarantined] == [OTHER_TRANSFER] * 2


def test_what_was_seen_is_a_duplicate() -> None:
    records: list[Content] = [shows(0, "", 0), moved("t", 1), shows(1, "t", 1)]
    folded, shelf = one(*records, *records)
    assert (folded.duplicates, folded.stale, shelf.balances[A].revision) == (2, 1, 3)


def test_a_null_erases_but_the_revision_grows() -> None:
    folded, shelf = one(shows(0, "", 9), moved("t", 1), Erasure(A), moved("t", 2))
    row = shelf.balances[A]
    assert (row.revision, row.balance, row.opening, row.posted_total) == (4, None, None, "0.02")
    assert folded.changes[A].erased
    assert [held.amount for held in shelf.transfers] == ["0.02"]


def test_a_record_of_another_lane_is_kept_aside() -> None:
    known = {A: Account(A, Lane(0), Revision(1))}
    folded = fold([arrived(moved("t", 1), 0, 0)], known, {})
    assert folded.changes == {}
    assert folded.quarantined[0].reason == "the account belongs to lane 0"


def test_nothing_is_named_by_the_opening() -> None:
    assert transfer_keys([arrived(shows(0, "", 1), 0, 0)]) == set()
