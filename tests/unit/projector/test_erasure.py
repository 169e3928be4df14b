"""An erased account keeps nothing but its revision: no later record counts on what was erased."""

from livebalance.projector.fold.fold import fold
from livebalance.projector.fold.records import Content, Incoming
from livebalance.readmodel.rows import ListedTransfer
from livebalance.wire.identity import AccountId, Offset, TransferId
from livebalance.wire.kafka.raw_record import Erasure
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import LANE, incoming, incoming_records

A, T = AccountId("a"), TransferId("t")
LISTED = {(A, T): ListedTransfer(Money(50, 2), Millis(5), Money(50, 2))}
TRANSFER = Transfer(T, A, Money(50, 2), 5)
BALANCE = Balance(A, "c", T, Money(150, 2), 1)


def records(*contents: Content) -> list[Incoming]:
    return incoming_records(contents, [*range(10, 10 + len(contents))])


def test_balance_that_names_a_transfer_erased_in_the_same_batch_is_unverified() -> None:
    for batch, listed in (
        (records(Erasure(A), BALANCE), LISTED),
        (records(TRANSFER, Erasure(A), BALANCE), {}),
    ):
        account = fold(batch, {}, listed).changes[A].account
        assert (account.named_total, account.drift, account.opening) == (None, None, None)
        assert account.unverified_since == batch[-1].at


def test_transfer_after_its_erasure_is_listed_again_and_verifies_the_balance() -> None:
    folded = fold(records(TRANSFER, Erasure(A), TRANSFER, BALANCE), {}, LISTED)
    assert (folded.duplicates, [row.revision for row in folded.changes[A].transfers]) == (1, [2])
    assert folded.newly_listed.keys() == {(A, T)}
    assert str(folded.changes[A].account.opening) == "1.00"


def test_erasure_stores_the_offset_of_the_transfers_that_follow() -> None:
    lane = {LANE: Offset(7)}
    erasure = incoming(Erasure(A), 3, 20)
    assert fold([erasure], {}, {}, (), lane).changes[A].account.erased_offset == 7
    repeated, first = incoming(TRANSFER, 8, 15), incoming(TRANSFER, 9, 25)
    account = fold([repeated, erasure, first], {}, LISTED, (), lane).changes[A].account
    assert (account.erased_offset, account.transfers_offset) == (9, 9)
