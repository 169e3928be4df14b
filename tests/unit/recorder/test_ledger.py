from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from livebalance.recorder.ledger import BEFORE_ALL, Entry, Ledger, LedgerAccount, Verdict
from livebalance.wire.identity import AccountId, Offset, TransferId
from livebalance.wire.kafka.record import Balance, Transfer, admissible
from livebalance.wire.money import Money
from tests.unit.recorder.naive import Seen, truth

WINDOW = 6
NewLedger = Callable[[int], Ledger]
Written = tuple[Offset, Balance]  # a balance record and its source-offset

accounts = st.sampled_from(["a", "b"]).map(AccountId)
units = st.integers(-5, 5) | st.sampled_from([2**63 - 1, -(2**63), 2**62, -(2**62)])
transfers = st.builds(
    Transfer,
    st.sampled_from(["1", "2", "3", "4"]).map(TransferId),
    accounts,
    st.builds(Money, units, st.integers(0, 2)),
    st.just(0),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Seen]:
    """Transfers at growing offsets: repeated ids, markers between them, now and then another's key."""
    found, offset = [], draw(st.integers(0, 3))
    for transfer in draw(st.lists(transfers, max_size=15)):
        key = transfer.account if draw(st.integers(0, 9)) else "other"
        found.append(Seen(Offset(offset), key.encode(), transfer))
        offset += draw(st.sampled_from([1, 1, 1, 2, 5]))
    return found


def run(ledger: Ledger, history: list[Seen]) -> list[Entry]:
    return [ledger.apply(*seen) for seen in history]


def written(history: list[Seen], entries: list[Entry]) -> list[Written]:
    return [
        (seen.offset, balance)
        for seen, entry in zip(history, entries, strict=True)
        for balance in entry.balances
    ]


def restored(new: NewLedger, history: list[Seen], topic: list[Written], next_: Offset) -> Ledger:
    """As a new owner does it: the balances, then the ids just before the first transfer to apply."""
    ledger = new(WINDOW)
    for source, balance in topic:
        ledger.restore(balance, source if balance.version else BEFORE_ALL)
    for seen in history:
        if next_ - WINDOW <= seen.offset < next_:
            ledger.remember(*seen)
    return ledger


def says_the_truth(new: NewLedger, history: list[Seen]) -> None:
    entries = run(new(WINDOW), history)
    for seen, entry, true in zip(history, entries, truth(history, WINDOW), strict=True):
        assert entry.verdict is true.verdict
        for balance in entry.balances:
            assert admissible(balance, seen.transfer.account.encode()) is None
        if entry.balances:
            last = entry.balances[-1]
            assert Fraction(last.amount.unscaled, 10**last.amount.scale) == true.balance
            assert (last.version, last.transfer_id) == (true.version, seen.transfer.id)


def survives_a_restart(new: NewLedger, history: list[Seen], cut: int, compacted: bool) -> None:
    entries = run(new(WINDOW), history)
    topic = written(history[:cut], entries[:cut])
    if compacted:
        topic = list({balance.account: (source, balance) for source, balance in topic}.values())
    next_ = history[cut].offset if cut < len(history) else Offset(10**6)
    again = restored(new, history, topic, next_)
    assert run(again, history[cut:]) == entries[cut:]


def survives_the_loss_of_its_offset(new: NewLedger, history: list[Seen], cut: int, back: int) -> None:
    entries = run(new(WINDOW), history)
    topic = written(history[:cut], entries[:cut])
    start = max(0, cut - back)
    next_ = history[start].offset if start < len(history) else Offset(10**6)
    again = restored(new, history, topic, next_)
    replayed = run(again, history[start:])
    assert topic + written(history[start:], replayed) == written(history, entries)


@given(histories())
def test_every_verdict_and_balance_is_that_of_the_naive_model(history: list[Seen]) -> None:
    says_the_truth(Ledger, history)


@given(histories(), st.integers(0, 15), st.booleans())
def test_a_restart_at_any_point_changes_nothing(history: list[Seen], cut: int, compacted: bool) -> None:
    survives_a_restart(Ledger, history, min(cut, len(history)), compacted)


@given(histories(), st.integers(0, 15), st.integers(0, 15))
def test_a_lost_offset_applies_nothing_twice(history: list[Seen], cut: int, back: int) -> None:
    survives_the_loss_of_its_offset(Ledger, history, min(cut, len(history)), back)


class ForgetsSource(Ledger):
    """Mutant: does not know up to which transfer a restored balance goes."""

    def restore(self, balance: Balance, source: Offset = BEFORE_ALL) -> None:
        super().restore(balance, BEFORE_ALL)


class ForgetsIds(Ledger):
    """Mutant: does not rebuild its window."""

    def remember(self, offset: Offset, key: bytes | None, transfer: Transfer) -> None:
        pass


class SumsAnything(Ledger):
    """Mutant: posts a sum that int64 does not hold."""

    def _post(self, offset: Offset, transfer: Transfer, account: LedgerAccount | None) -> Entry:
        entry = super()._post(offset, transfer, account)
        if account is None or entry.verdict is not Verdict.REJECTED:
            return entry
        before = account.balance
        amount = before.amount.plus(transfer.amount)
        after = before._replace(transfer_id=transfer.id, amount=amount, version=before.version + 1)
        self._accounts[transfer.account] = LedgerAccount(after, offset)
        return Entry(Verdict.APPLIED, (after,))


QUICK = settings(
    database=None, max_examples=2000, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.mark.mutant
def test_without_the_source_offset_a_lost_offset_applies_twice() -> None:
    law = given(histories(), st.integers(0, 15), st.integers(0, 15))(
        lambda history, cut, back: survives_the_loss_of_its_offset(
            ForgetsSource, history, min(cut, len(history)), back
        )
    )
    with pytest.raises(AssertionError):
        QUICK(law)()


@pytest.mark.mutant
def test_without_the_window_a_restart_applies_a_duplicate() -> None:
    law = given(histories(), st.integers(0, 15))(
        lambda history, cut: survives_a_restart(ForgetsIds, history, min(cut, len(history)), compacted=False)
    )
    with pytest.raises(AssertionError):
        QUICK(law)()


@pytest.mark.mutant
def test_without_the_rule_of_int64_a_balance_leaves_it() -> None:
    law = given(histories())(lambda history: says_the_truth(SumsAnything, history))
    with pytest.raises(AssertionError):
        QUICK(law)()


def transfer(id_: str, unscaled: int, scale: int = 2) -> Transfer:
    return Transfer(TransferId(id_), AccountId("a"), Money(unscaled, scale), 0)


def test_an_unknown_account_opens_at_nothing_in_the_scale_of_its_transfer() -> None:
    ledger = Ledger(WINDOW)
    assert ledger.unknown([transfer("t", 1250)])
    entry = ledger.apply(Offset(7), b"a", transfer("t", 1250))
    assert entry.verdict is Verdict.OPENED
    assert entry.balances == (
        Balance(AccountId("a"), "", TransferId(""), Money(0, 2), 0),
        Balance(AccountId("a"), "", TransferId("t"), Money(1250, 2), 1),
    )
    assert not ledger.unknown([transfer("t2", 1)])


def test_an_opened_account_keeps_its_client() -> None:
    ledger = Ledger(WINDOW)
    ledger.restore(Balance(AccountId("a"), "client-7", TransferId(""), Money(500, 1), 0))
    [after] = ledger.apply(Offset(0), b"a", transfer("t", 25)).balances
    assert after == Balance(AccountId("a"), "client-7", TransferId("t"), Money(5025, 2), 1)


def test_an_erased_account_is_unknown_again() -> None:
    ledger = Ledger(WINDOW)
    ledger.apply(Offset(0), b"a", transfer("t", 1250))
    ledger.forget(AccountId("a"))
    assert ledger.unknown([transfer("t2", 1)])


def test_a_refusal_says_why() -> None:
    ledger = Ledger(WINDOW)
    assert ledger.apply(Offset(0), None, transfer("t", 1)).reason == "key is not the account id"
    ledger.apply(Offset(1), b"a", transfer("t", 2**63 - 1))
    assert ledger.apply(Offset(2), b"a", transfer("t2", 1)).reason == "balance: amount leaves int64"


@pytest.mark.parametrize(
    ("distance", "verdict"), [(WINDOW, Verdict.DUPLICATE), (WINDOW + 1, Verdict.APPLIED)]
)
def test_an_id_is_remembered_for_the_window(distance: int, verdict: Verdict) -> None:
    ledger = Ledger(WINDOW)
    ledger.apply(Offset(0), b"a", transfer("t", 1))
    assert ledger.apply(Offset(distance), b"a", transfer("t", 1)).verdict is verdict
