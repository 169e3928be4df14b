"""The laws of the fold. Each is shown to fail when a rule it guards is taken away."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from livebalance.projector.fold import fold as fold_file
from livebalance.projector.fold.account import Account
from livebalance.projector.fold.fold import _Fold, batch_rows, fold
from livebalance.projector.fold.records import Content, Incoming
from livebalance.wire.identity import AccountId, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import Money, parse_money
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import faithful, interleaved, wild
from tests.unit.projector.naive import Naive, told, worth
from tests.unit.projector.shelf import Shelf, shelved


def _at(text: str | None) -> Fraction | None:
    return None if text is None else worth(parse_money(text))


def pieces(batch: list[Incoming], cuts: list[int]) -> list[list[Incoming]]:
    at = [0, *sorted({min(cut, len(batch)) for cut in cuts}), len(batch)]
    return [batch[start:end] for start, end in pairwise(at)]


def same_as_told(shelf: Shelf, naive: Naive) -> None:
    known = {id_: truth for id_, truth in naive.accounts.items() if truth.revision}
    assert shelf.balances.keys() == known.keys()
    for id_, truth in known.items():
        row = shelf.balances[id_]
        assert (row.revision, row.recorded_at) == (truth.revision, truth.recorded_at)
        assert row.transfer_count == len(truth.transfers)
        assert _at(row.balance) == (truth.shown and worth(truth.shown.amount))
        assert (row.version, row.transfer_id) == (
            (truth.shown.version, truth.shown.transfer_id) if truth.shown else (None, None)
        )
        assert (_at(row.opening), _at(row.posted_total)) == (truth.opening, truth.posted)
        assert _at(row.half_applied) == (None if truth.named is None else truth.posted - truth.named)
        assert _at(row.drift) == truth.drift
        assert (row.unverified_since is None) == (truth.shown is None or truth.named is not None)
        assert row.disputed_since == truth.disputed_since
        assert (row.disputed_why is None) == (truth.disputed_since is None)
        listed = [one for one in shelf.transfers if one.account == id_]
        assert [
            (one.revision, one.recorded_at, one.transfer_id, _at(one.amount), _at(one.total))
            for one in listed
        ] == [
            (revision, at, transfer.id, worth(transfer.amount), total)
            for (revision, at, transfer), total in zip(truth.transfers, truth.totals(), strict=True)
        ]


# --- the laws ---


def law_truth(batch: list[Incoming], cuts: list[int]) -> None:
    """However the records are cut into batches, what stands is what the slow telling says."""
    shelf, naive = Shelf(), told(batch)
    folded = [shelved(shelf, piece) for piece in pieces(batch, cuts)]
    same_as_told(shelf, naive)
    assert sum(one.duplicates for one in folded) == naive.duplicates
    assert sum(one.stale for one in folded) == naive.stale
    assert len(shelf.quarantined) == naive.quarantined


def law_dense(batch: list[Incoming], cuts: list[int]) -> None:
    """Each change begins where the last one ended, grows, and is one revision per applied record."""
    shelf, at = Shelf(), dict[AccountId, Revision]()
    for piece in pieces(batch, cuts):
        folded = shelved(shelf, piece)
        for id_, change in folded.changes.items():
            assert change.from_ == at.get(id_, 0)
            assert change.from_ < change.account.revision
            revisions = [row.revision for row in change.transfers]
            assert revisions == sorted(set(revisions))
            assert all(change.from_ < revision <= change.account.revision for revision in revisions)
            at[id_] = change.account.revision
        assert folded.applied + folded.duplicates <= len(piece)


def law_replay(data: st.DataObject, topics: tuple[list[Content], list[Content]]) -> None:
    """Met in another order, a faithful history ends in equal transfers, totals and balances."""
    ends = []
    for _ in range(2):
        shelf = Shelf()
        shelved(shelf, data.draw(interleaved(topics)))
        lists = [
            [
                (one.transfer_id, one.amount, one.total, one.occurred_at)
                for one in shelf.transfers
                if one.account == id_
            ]
            for id_ in ("a", "b")
        ]
        rows = [
            (row.account, row.balance, row.version, _at(row.opening), row.posted_total, _at(row.drift))
            for row in shelf.balances.values()
        ]
        assert not any(row.disputed_why for row in shelf.balances.values())
        ends.append((lists, sorted(rows)))
    assert ends[0] == ends[1]


def law_conservation(
    data: st.DataObject, topics: tuple[list[Content], list[Content]], cuts: list[int]
) -> None:
    """After every batch, over the verified accounts: balances + half applied = openings + posts."""
    shelf = Shelf()
    for piece in pieces(data.draw(interleaved(topics)), cuts):
        shelved(shelf, piece)
        rows = [row for row in shelf.balances.values() if row.half_applied is not None]
        assert all(_at(row.drift) == 0 for row in rows)
        left = sum(((_at(row.balance) or 0) + (_at(row.half_applied) or 0) for row in rows), Fraction(0))
        right = sum(((_at(row.opening) or 0) + (_at(row.posted_total) or 0) for row in rows), Fraction(0))
        assert left == right


def law_untouched(before: list[Incoming], batch: list[Incoming]) -> None:
    """A fold changes nothing it was given: a batch thrown away leaves no trace."""
    shelf = Shelf()
    shelved(shelf, before)
    accounts, listed = shelf.accounts(), shelf.listed()
    copies = {id_: account.clone() for id_, account in accounts.items()}, dict(listed)
    first, second = fold(batch, accounts, listed), fold(batch, accounts, listed)
    assert (accounts, listed) == copies
    assert batch_rows([], first, None) == batch_rows([], second, None)


cuts = st.lists(st.integers(0, 14), max_size=4)
LAWS: dict[Callable[..., None], tuple[st.SearchStrategy[Any], ...]] = {
    law_truth: (wild(), cuts),
    law_dense: (wild(), cuts),
    law_replay: (st.data(), faithful()),
    law_conservation: (st.data(), faithful(), cuts),
    law_untouched: (wild(), wild()),
}


def holds(law: Callable[..., None], examples: int) -> None:
    """Raises AssertionError at the first example that breaks the law."""
    quick = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow],  # other work on the machine is not the law's fault
    )
    quick(given(*LAWS[law])(law))()


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law: Callable[..., None]) -> None:
    holds(law, 80)


# --- each law sees its mutant ---


@contextmanager
def mutant(where: Any, name: str, other: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, other)
        yield


def _skips_a_revision(self: Account, at: Any) -> None:
    self.revision = Revision(self.revision + 2)
    self.recorded_at = max(self.recorded_at, at)


def _forgets_the_past(self: _Fold, change: fold_file.Change, id_: TransferId) -> Any:
    return self._newly_listed.get((change.account.id, id_))


def _opening_of_the_first(self: Account, total: Money) -> None:
    self.named_total, self.unverified_since = total, None
    self.opening = self.opening or self.amount


def _leaves_balances_waiting(self: Account, transfer: Transfer, offset: Offset, at: Millis) -> None:
    self._advance(at)
    self.posted_total = self.posted_total.add(transfer.amount)


MUTANTS = [
    (law_truth, _Fold, "_find_listed", _forgets_the_past),
    (law_truth, Account, "_advance", _skips_a_revision),
    (law_dense, _Fold, "_find_listed", _forgets_the_past),
    (law_replay, Account, "apply_transfer", _leaves_balances_waiting),
    (law_conservation, Account, "_verify", _opening_of_the_first),
    (law_untouched, Account, "clone", lambda self: self),
]


@pytest.mark.mutant
@pytest.mark.parametrize("case", MUTANTS, ids=lambda case: f"{case[0].__name__}-{case[2]}")
def test_law_sees_its_mutant(case: tuple[Any, Any, str, Any]) -> None:
    law, where, name, other = case
    with mutant(where, name, other), pytest.raises(AssertionError):
        holds(law, 500)
