"""Openings and erasures: the order of the three topics, and compaction, do not change what is known."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from livebalance.projector.fold import fold as fold_module
from livebalance.projector.fold.account import DRIFT, Account
from livebalance.projector.fold.fold import OTHER_OPENING, _Fold
from livebalance.projector.fold.records import Incoming
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.lifecycle import Opened
from livebalance.wire.kafka.raw_record import Erasure
from livebalance.wire.money import Money, parse_money
from tests.unit.projector.histories import incoming_records
from tests.unit.projector.lifecycles import Life, Logs, append_life, logs, read_orders
from tests.unit.projector.memory_store import MemoryStore, fold_and_write
from tests.unit.projector.reference import exact_value


def outcome(order: list[Incoming], cuts: list[int]) -> dict[AccountId, tuple[Any, ...]]:
    """Returns what is known of each account after its records were read in this order, in batches."""
    store, bounds = MemoryStore(), sorted({0, len(order), *(cut for cut in cuts if cut < len(order))})
    for start, end in pairwise(bounds):
        fold_and_write(store, order[start:end])
    return {
        id_: (
            *(_value(text) for text in (row.balance, row.opening, row.posted_total, row.drift)),
            row.opening_known,
            row.version,
            row.disputed_since is not None,
            row.unverified_since is not None,
            [
                (transfer.transfer_id, _value(transfer.amount), _value(transfer.total))
                for transfer in store.transfers
                if transfer.account == id_
            ],
        )
        for id_, row in store.balances.items()
    }


def _value(text: str | None) -> Any:
    return None if text is None else exact_value(parse_money(text))


cuts = st.lists(st.integers(1, 20), max_size=5)


def law_any_order(data: st.DataObject, made: Logs, cut: list[int]) -> None:
    """Any order of the three logs gives the same as the whole logs, one after the other."""
    whole = outcome([*made.lifecycle, *made.transfers, *made.balances], [])
    assert outcome(data.draw(read_orders(made)), cut) == whole


def check(examples: int, *, derandomize: bool = False) -> None:
    """Raises AssertionError at the first example that breaks the law."""
    quick = settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],
    )
    quick(given(st.data(), logs(), cuts)(law_any_order))()


def test_order_and_compaction_of_the_topics_do_not_change_the_accounts() -> None:
    check(300)


def _forget_survivors(self: _Fold, *_: Any) -> list[Any]:
    return []


def _derive_only(self: Account, opening: Money, at: Any) -> None:
    self._advance(at)
    self.opening = self.opening or opening


def _keep_the_first_life(*_: Any) -> None:
    return None


MUTANTS: list[tuple[Any, str, Callable[..., Any]]] = [
    (_Fold, "_surviving", _forget_survivors),
    (Account, "open", _derive_only),
    (Account, "forget_opening", lambda self, at: self._advance(at)),
    (fold_module, "erasure_bounds", _keep_the_first_life),
    (Account, "covers", lambda self, bounds: False),
]


@pytest.mark.mutant
@pytest.mark.parametrize("case", MUTANTS, ids=lambda case: case[1])
def test_law_fails_with_mutant(case: tuple[Any, str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*case)
    with pytest.raises(AssertionError):
        check(1_000, derandomize=True)


# --- examples


def test_second_opening_with_another_amount_disputes_the_account_and_the_first_stays() -> None:
    store, account = MemoryStore(), AccountId("a")
    records = [Opened(account, Money(amount, 2)) for amount in (100, 100, 200)]
    result = fold_and_write(store, incoming_records(records, [1, 2, 3]))
    row = store.balances[account]
    assert (row.opening, row.opening_known, row.disputed_why) == ("1.00", True, OTHER_OPENING)
    assert (result.applied, result.duplicates) == (2, 1)


def test_balance_with_erased_transfers_only_is_ignored_wherever_it_is_in_its_topic() -> None:
    """A recorder that applies a transfer while its account is erased writes its balance after the null."""
    made, account = Logs([], [], []), AccountId("a")
    append_life(made, Life(account, 0, 0, [5, 7], erased=True), with_source=True)
    late = made.balances.pop(2)  # that of the second transfer
    moved = [record._replace(offset=Offset(offset)) for offset, record in enumerate([*made.balances, late])]
    store = MemoryStore()
    for record in [*made.transfers, *moved]:
        fold_and_write(store, [record])
    row = store.balances[account]
    assert (row.balance, row.client_id, row.transfer_count, store.transfers) == (None, None, 0, [])


def test_null_of_a_former_topic_that_is_read_again_erases_nothing() -> None:
    """The topic of transfers has changed since: the transfers from after the erasure cannot be read again."""
    made, account = Logs([], [], []), AccountId("a")
    append_life(made, Life(account, 0, 0, [5], erased=True), with_source=True)
    append_life(made, Life(account, 0, 0, [7], erased=False), with_source=True)
    store = MemoryStore()
    fold_and_write(store, [*made.lifecycle, *made.transfers, *made.balances])
    row, [listed] = store.balances[account], store.transfers
    null = next(record for record in made.balances if isinstance(record.content, Erasure))
    result = fold_and_write(store, [null._replace(content=Erasure(account))] * 2)
    assert (result.applied, result.duplicates) == (0, 2)
    assert (store.balances[account], store.transfers) == (row, [listed])


def test_known_opening_replaces_a_derived_opening_and_shows_the_drift() -> None:
    made = Logs([], [], [])
    append_life(made, Life(AccountId("a"), 100, 1, [50], erased=False), with_source=False)
    store = MemoryStore()
    fold_and_write(store, [*made.transfers, made.balances[-1]])
    assert (store.balances[AccountId("a")].opening, store.balances[AccountId("a")].drift) == ("1.01", "0.00")
    fold_and_write(store, made.lifecycle)
    row = store.balances[AccountId("a")]
    assert (row.opening, row.opening_known, row.drift, row.disputed_why) == ("1.00", True, "0.01", DRIFT)
