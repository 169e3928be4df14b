"""An erased account keeps nothing but its revision: no later record counts on what was erased."""

from uuid import UUID

from livebalance.projector.fold.account import Account, ErasedBounds
from livebalance.projector.fold.fold import fold, replay
from livebalance.projector.fold.records import Content, Incoming
from livebalance.readmodel.rows import ListedTransfer, ReplayOutcome, TransferRow
from livebalance.wire.identity import AccountId, Offset, Revision, TransferId
from livebalance.wire.kafka.lifecycle import Bound, Erased, Opened
from livebalance.wire.kafka.raw_record import Erasure
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import LANE, incoming, incoming_records

A, T = AccountId("a"), TransferId("t")
LISTED = {(A, T): ListedTransfer(Money(50, 2), Millis(5), Money(50, 2))}
TOPIC = UUID(int=1)
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


def erased(transfers: int, balances: int) -> Erased:
    """Erases the transfers and balances of A below these offsets."""
    return Erased(A, Bound(TOPIC, Offset(transfers)), Bound(TOPIC, Offset(balances)))


def listed_row(account: AccountId, offset: int) -> TransferRow:
    id_ = TransferId(f"t-{offset}")
    return TransferRow(
        account, Revision(offset), id_, "0.50", "0.50", Millis(5), Millis(6), LANE, Offset(offset)
    )


def test_records_that_an_erasure_covers_are_counted_and_not_applied() -> None:
    covered = [incoming(TRANSFER, offset, 2) for offset in (3, 4)]
    covered += [incoming(BALANCE, offset, 2) for offset in (7, 8)]
    folded = fold([incoming(erased(5, 9), 0, 1), *covered], {}, {})
    assert (folded.erased, folded.applied, folded.newly_listed) == (4, 1, {})
    account = Account(A, LANE, erased=ErasedBounds(Offset(5), Offset(9)))
    assert replay(covered, {A: account}, {})[1] == [ReplayOutcome("erased")] * 4


def test_repeated_openings_and_erasures_are_duplicates() -> None:
    for content in (erased(5, 9), Opened(A, Money(100, 2))):
        folded = fold(records(content, content, content), {}, {})
        assert (folded.applied, folded.duplicates) == (1, 2)


def test_transfers_from_after_an_erasure_are_listed_again_once() -> None:
    account = Account(A, LANE, Revision(9), transfers_offset=Offset(8))
    survivors = [listed_row(A, 7), listed_row(A, 8), listed_row(AccountId("b"), 9)]
    batch = [incoming(erased(5, 9), 0, 10), incoming(erased(8, 12), 1, 11)]
    for count, left in ((1, [7, 8]), (2, [8])):
        change = fold(batch[:count], {A: account}, {}, survivors=survivors).changes[A]
        assert [row.source_offset for row in change.transfers] == left
        assert {(row.account, row.occurred_at) for row in change.transfers} == {(A, 5)}
    again = incoming(erased(6, 12), 1, 11)
    change = fold([batch[0], again], {A: account}, {}, survivors=survivors).changes[A]
    assert [row.source_offset for row in change.transfers] == [7, 8]
