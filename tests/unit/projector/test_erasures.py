"""Which records an erasure covers, and which stored transfers survive it."""

from uuid import UUID

import pytest

from livebalance.projector.fold.account import Account, ErasedBounds
from livebalance.projector.fold.erasures import erasure_bounds, is_covered, overtaken_erasures
from livebalance.projector.fold.records import Content
from livebalance.wire.identity import AccountId, Lane, Offset, TransferId
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.lifecycle import Bound, Erased, Opened
from livebalance.wire.kafka.raw_record import Erasure
from livebalance.wire.kafka.record import Balance
from livebalance.wire.kafka.source import SOURCE, SOURCE_OFFSET, Source
from livebalance.wire.money import Money
from tests.unit.projector.histories import LANE, incoming, incoming_records

A, TOPIC = AccountId("a"), UUID(int=1)
BALANCE = Balance(A, "c", TransferId("t"), Money(150, 2), 1)
OPENED = Opened(A, Money(100, 2))


def bound(offset: int) -> Bound:
    return Bound(TOPIC, Offset(offset))


def erased(transfers: int, balances: int = 20) -> Erased:
    """Erases the transfers and balances of A below these offsets."""
    return Erased(A, bound(transfers), bound(balances))


def account(transfers_offset: int | None, covered: ErasedBounds | None = None) -> Account:
    offset = None if transfers_offset is None else Offset(transfers_offset)
    return Account(A, LANE, transfers_offset=offset, erased=covered)


def test_null_covers_the_balances_before_it_and_the_transfers_that_it_names() -> None:
    assert erasure_bounds(Erasure(A, bound(5)), Offset(9)) == (5, 9)
    assert erasure_bounds(Erasure(A), Offset(9)) is None
    assert erasure_bounds(erased(5, 7), Offset(9)) == (5, 7)


@pytest.mark.parametrize(
    ("contents", "stored", "survive"),
    [
        ([erased(5)], account(8), 5),
        ([erased(8)], account(8), 8),
        ([erased(9)], account(8), None),  # every stored transfer is erased
        ([erased(5), erased(7)], account(8), 5),
        ([erased(7), erased(5)], account(8), 5),
        ([Erasure(A, bound(5))], account(8), 5),
        ([Erasure(A)], account(8), None),
        ([BALANCE, OPENED], account(8), None),
        ([BALANCE, erased(5), OPENED], account(8), 5),
        ([erased(5)], account(None), None),
        ([erased(5, 20)], account(8, ErasedBounds(Offset(5), Offset(20))), None),  # it was applied before
        ([erased(5, 21)], account(8, ErasedBounds(Offset(5), Offset(20))), 5),
    ],
)
def test_stored_transfers_at_or_after_the_first_erasure_of_a_batch_survive(
    contents: list[Content], stored: Account, survive: int | None
) -> None:
    batch = incoming_records(contents, [10] * len(contents))
    others = {AccountId("b"): Account(AccountId("b"), Lane(3), transfers_offset=Offset(8))}
    assert overtaken_erasures(batch, {A: stored, **others}) == ({} if survive is None else {A: survive})
    assert overtaken_erasures(batch, others) == {}


@pytest.mark.parametrize(
    ("offset", "headers", "covered"),
    [
        (8, (), True),
        (9, (), False),
        (9, ((SOURCE_OFFSET, b"4"),), True),
        (9, ((SOURCE_OFFSET, b"5"),), False),
        (9, ((SOURCE, Source(str(TOPIC), LANE, Offset(4), bytes(16)).encode()),), True),
        (9, ((SOURCE, Source(str(TOPIC), LANE, Offset(5), bytes(16)).encode()),), False),
    ],
)
def test_balance_is_covered_by_its_offset_or_by_that_of_its_transfer(
    offset: int, headers: Headers, covered: bool
) -> None:
    balance = incoming(BALANCE, offset, 10)
    balance = balance._replace(raw=balance.raw._replace(headers=headers))
    assert is_covered(ErasedBounds(Offset(5), Offset(9)), balance) is covered
