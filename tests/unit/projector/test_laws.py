"""The laws of the fold. A mutant shows for each law that the law fails without a rule of the fold."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from livebalance.projector.fold import fold as fold_module
from livebalance.projector.fold import totals as totals_module
from livebalance.projector.fold.account import Account
from livebalance.projector.fold.fold import _Fold, batch_rows, fold
from livebalance.projector.fold.records import Content, Incoming
from livebalance.projector.fold.totals import lane_differences
from livebalance.readmodel.rows import Totals
from livebalance.wire.identity import AccountId, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money, parse_money
from livebalance.wire.timestamp import Millis
from tests.mutation.conviction import convicted_by
from tests.unit.projector.histories import arbitrary_records, consistent_topics, interleaved
from tests.unit.projector.memory_store import MemoryStore, fold_and_write
from tests.unit.projector.reference import ReferenceProjection, exact_value, project


def _value(text: str | None) -> Fraction | None:
    return None if text is None else exact_value(parse_money(text))


def pieces(batch: list[Incoming], cuts: list[int]) -> list[list[Incoming]]:
    bounds = [0, *sorted({min(cut, len(batch)) for cut in cuts}), len(batch)]
    return [batch[start:end] for start, end in pairwise(bounds)]


def assert_equal_to_reference(store: MemoryStore, reference: ReferenceProjection) -> None:
    changed = {id_: expected for id_, expected in reference.accounts.items() if expected.revision}
    assert store.balances.keys() == changed.keys()
    for id_, expected in changed.items():
        row = store.balances[id_]
        assert (row.revision, row.recorded_at) == (expected.revision, expected.recorded_at)
        assert row.transfer_count == len(expected.transfers)
        assert _value(row.balance) == (expected.shown and exact_value(expected.shown.amount))
        assert (row.version, row.transfer_id) == (
            (expected.shown.version, expected.shown.transfer_id) if expected.shown else (None, None)
        )
        assert (_value(row.opening), _value(row.posted_total)) == (expected.opening, expected.posted)
        assert _value(row.half_applied) == (
            None if expected.named is None else expected.posted - expected.named
        )
        assert _value(row.drift) == expected.drift
        assert (row.unverified_since is None) == (expected.shown is None or expected.named is not None)
        assert row.disputed_since == expected.disputed_since
        assert (row.disputed_why is None) == (expected.disputed_since is None)
        listed = [transfer for transfer in store.transfers if transfer.account == id_]
        assert [
            (
                transfer.revision,
                transfer.recorded_at,
                transfer.transfer_id,
                _value(transfer.amount),
                _value(transfer.total),
            )
            for transfer in listed
        ] == [
            (revision, at, transfer.id, exact_value(transfer.amount), total)
            for (revision, at, transfer), total in zip(expected.transfers, expected.totals(), strict=True)
        ]


# --- the laws ---


def law_reference(batch: list[Incoming], cuts: list[int]) -> None:
    """The fold equals the reference, however the records are cut into batches."""
    store, reference = MemoryStore(), project(batch)
    results = [fold_and_write(store, piece) for piece in pieces(batch, cuts)]
    assert_equal_to_reference(store, reference)
    assert sum(result.duplicates for result in results) == reference.duplicates
    assert sum(result.stale for result in results) == reference.stale
    assert len(store.quarantined) == reference.quarantined


def law_dense(batch: list[Incoming], cuts: list[int]) -> None:
    """A change begins at the account's revision, and adds one revision per applied record."""
    store, revisions_before = MemoryStore(), dict[AccountId, Revision]()
    for piece in pieces(batch, cuts):
        folded = fold_and_write(store, piece)
        for id_, change in folded.changes.items():
            assert change.from_ == revisions_before.get(id_, 0)
            assert change.from_ < change.account.revision
            revisions = [row.revision for row in change.transfers]
            assert revisions == sorted(set(revisions))
            assert all(change.from_ < revision <= change.account.revision for revision in revisions)
            revisions_before[id_] = change.account.revision
        assert folded.applied + folded.duplicates <= len(piece)


def law_replay(data: st.DataObject, topics: tuple[list[Content], list[Content]]) -> None:
    """Consistent topics read in another order give the same transfers, totals and balances."""
    results = []
    for _ in range(2):
        store = MemoryStore()
        fold_and_write(store, data.draw(interleaved(topics)))
        lists = [
            [
                (transfer.transfer_id, transfer.amount, transfer.total, transfer.occurred_at)
                for transfer in store.transfers
                if transfer.account == id_
            ]
            for id_ in ("a", "b")
        ]
        rows = [
            (row.account, row.balance, row.version, _value(row.opening), row.posted_total, _value(row.drift))
            for row in store.balances.values()
        ]
        assert not any(row.disputed_why for row in store.balances.values())
        results.append((lists, sorted(rows)))
    assert results[0] == results[1]


def law_conservation(
    data: st.DataObject, topics: tuple[list[Content], list[Content]], cuts: list[int]
) -> None:
    """After each batch, over the verified accounts: balances + half applied = openings + posted totals."""
    store = MemoryStore()
    for piece in pieces(data.draw(interleaved(topics)), cuts):
        fold_and_write(store, piece)
        rows = [row for row in store.balances.values() if row.half_applied is not None]
        assert all(_value(row.drift) == 0 for row in rows)
        left = sum(
            ((_value(row.balance) or 0) + (_value(row.half_applied) or 0) for row in rows), Fraction(0)
        )
        right = sum(
            ((_value(row.opening) or 0) + (_value(row.posted_total) or 0) for row in rows), Fraction(0)
        )
        assert left == right


def law_untouched(before: list[Incoming], batch: list[Incoming]) -> None:
    """A fold changes none of its arguments, so a discarded batch leaves no trace."""
    store = MemoryStore()
    fold_and_write(store, before)
    accounts, listed = store.accounts(), store.listed()
    copies = {id_: account.clone() for id_, account in accounts.items()}, dict(listed)
    first, second = fold(batch, accounts, listed), fold(batch, accounts, listed)
    assert (accounts, listed) == copies
    assert batch_rows([], first, None) == batch_rows([], second, None)


def law_totals(batch: list[Incoming], cuts: list[int]) -> None:
    """The differences of all batches add up to the numbers of accounts that are counted in the rows."""
    store, sums = MemoryStore(), Counter[str]()
    for piece in pieces(batch, cuts):
        changes = fold_and_write(store, piece).changes.values()
        for totals in lane_differences((change.before, change.account) for change in changes).values():
            sums.update(totals._asdict())
    rows = store.balances.values()
    assert +sums == +Counter(
        disputed=sum(row.disputed_since is not None for row in rows),
        drifting=sum(bool(_value(row.drift)) for row in rows),
        unverified=sum(row.unverified_since is not None for row in rows),
    )


cuts = st.lists(st.integers(0, 14), max_size=4)
LAWS: dict[Callable[..., None], tuple[st.SearchStrategy[Any], ...]] = {
    law_reference: (arbitrary_records(), cuts),
    law_dense: (arbitrary_records(), cuts),
    law_replay: (st.data(), consistent_topics()),
    law_conservation: (st.data(), consistent_topics(), cuts),
    law_untouched: (arbitrary_records(), arbitrary_records()),
    law_totals: (arbitrary_records(), cuts),
}


def check_law(law: Callable[..., None], examples: int, *, derandomize: bool = False) -> None:
    """Raises AssertionError at the first example that breaks the law."""
    quick = settings(
        max_examples=examples,
        derandomize=derandomize,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # other processes may slow the machine down
    )
    quick(given(*LAWS[law])(law))()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law_holds(law: Callable[..., None]) -> None:
    check_law(law, 80)


# --- mutants ---


@contextmanager
def mutated(owner: Any, name: str, mutant: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, mutant)
        yield


def _skip_a_revision(self: Account, at: Any) -> None:
    self.revision = Revision(self.revision + 2)
    self.recorded_at = max(self.recorded_at, at)


def _find_only_newly_listed(self: _Fold, change: fold_module.Change, id_: TransferId) -> Any:
    return self._newly_listed.get((change.account.id, id_))


def _open_at_the_first_balance(self: Account, total: Money) -> None:
    self.named_total, self.unverified_since = total, None
    self.opening = self.opening or self.amount


def _leave_balances_unverified(self: Account, transfer: Transfer, offset: Offset, at: Millis) -> None:
    self._advance(at)
    self.posted_total = self.posted_total.add(transfer.amount)


def _count_without_disputes(account: Account | None) -> Totals:
    return Totals(unverified=int(account is not None and account.unverified_since is not None))


# The last field is a part of the assertion that the mutant breaks.
MUTANTS = [
    (law_reference, _Fold, "_find_listed", _find_only_newly_listed, "transfer.transfer_id not in {"),
    (law_reference, Account, "_advance", _skip_a_revision, "(row.revision, row.recorded_at) =="),
    (law_dense, Account, "_advance", _skip_a_revision, "folded.applied + folded.duplicates <= len(piece)"),
    (law_replay, Account, "apply_transfer", _leave_balances_unverified, "results[0] == results[1]"),
    (law_conservation, Account, "_verify", _open_at_the_first_balance, "all(_value(row.drift) == 0"),
    (law_untouched, Account, "clone", lambda self: self, "batch_rows([], first, None) =="),
    (law_totals, totals_module, "_totals", _count_without_disputes, "+sums == +Counter("),
]


@pytest.mark.mutant
@pytest.mark.parametrize("case", MUTANTS, ids=lambda case: f"{case[0].__name__}-{case[2]}")
def test_law_fails_with_mutant(case: tuple[Any, Any, str, Any, str]) -> None:
    law, owner, name, mutant, reason = case
    with mutated(owner, name, mutant), convicted_by(reason):
        check_law(law, 500, derandomize=True)
