"""Since when an account has transfers that no balance record includes."""

from decimal import Decimal

from hypothesis import given

from livebalance.projector.fold.records import Content, Incoming
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.raw_record import Erasure
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import arbitrary_records, incoming
from tests.unit.projector.memory_store import MemoryStore, fold_and_write

A = AccountId("a")


def transfer(id_: str, unscaled: int) -> Transfer:
    return Transfer(TransferId(id_), A, Money(unscaled, 2), 5)


def balance(version: int, id_: str, unscaled: int) -> Balance:
    return Balance(A, "c", TransferId(id_), Money(unscaled, 2), version)


def since(*records: Content) -> list[Millis | None]:
    """Returns the column after each of the records, which come at 10, 11, 12 and so on."""
    store, column = MemoryStore(), list[Millis | None]()
    for offset, content in enumerate(records):
        fold_and_write(store, [incoming(content, offset, 10 + offset)])
        column.append(store.balances[A].half_applied_since)
    return column


def test_transfers_wait_from_the_first_until_the_balance_includes_all() -> None:
    opening = balance(0, "", 0)
    history = (opening, transfer("t", 5), transfer("u", 7), balance(2, "u", 12))
    assert since(*history) == [None, 11, 11, None]


def test_balance_that_includes_a_part_lets_the_rest_wait_from_then_on() -> None:
    opening = balance(0, "", 0)
    assert since(opening, transfer("t", 5), transfer("u", 7), balance(1, "t", 5)) == [None, 11, 11, 13]


def test_transfers_of_an_account_without_a_balance_wait_for_it() -> None:
    assert since(transfer("t", 5), transfer("u", -5), balance(1, "u", 0)) == [10, 10, None]


def test_balance_that_comes_first_is_unverified_instead() -> None:
    assert since(balance(0, "", 0), balance(1, "t", 5), transfer("t", 5)) == [None, None, None]


def test_erased_account_waits_for_nothing() -> None:
    assert since(balance(0, "", 0), transfer("t", 5), Erasure(A), transfer("u", 1)) == [None, 11, None, 13]


@given(arbitrary_records())
def test_account_waits_exactly_while_no_balance_includes_a_listed_amount(batch: list[Incoming]) -> None:
    store = MemoryStore()
    for record in batch:
        fold_and_write(store, [record])
        for row in store.balances.values():
            lacks_balance = row.balance is None and row.transfer_count > 0
            waits = lacks_balance or (row.half_applied is not None and Decimal(row.half_applied) != 0)
            assert (row.half_applied_since is not None) == waits
            assert row.half_applied_since is None or row.half_applied_since <= row.recorded_at
