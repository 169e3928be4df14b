from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from livebalance.recorder.ledger import NO_OFFSET, Decision, Ledger, LedgerAccount, Verdict
from livebalance.wire.identity import AccountId, Offset, TransferId
from livebalance.wire.kafka.record import Balance, Transfer, rejection_reason
from livebalance.wire.money import Money
from tests.mutation.conviction import convicted_by
from tests.unit.recorder.ledger_model import TransferRecord, expected_results

WINDOW = 6
NewLedger = Callable[[int, set[Offset]], Ledger]
BalanceRecord = tuple[Offset, Balance]  # with its source offset

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
def histories(draw: st.DrawFn) -> list[TransferRecord]:
    """Transfers at growing offsets, with repeated ids, gaps, and some keys of other accounts."""
    records, offset = [], draw(st.integers(0, 3))
    for transfer in draw(st.lists(transfers, max_size=15)):
        key = transfer.account if draw(st.integers(0, 9)) else "other"
        records.append(TransferRecord(Offset(offset), key.encode(), transfer))
        offset += draw(st.sampled_from([1, 1, 1, 2, 5]))
    return records


def run(ledger: Ledger, history: list[TransferRecord]) -> list[Decision]:
    return [ledger.apply(*record) for record in history]


def written(history: list[TransferRecord], decisions: list[Decision]) -> list[BalanceRecord]:
    return [
        (record.offset, balance)
        for record, decision in zip(history, decisions, strict=True)
        for balance in decision.balances
    ]


def restored(
    new: NewLedger,
    history: list[TransferRecord],
    topic: list[BalanceRecord],
    next_offset: Offset,
    rejected: set[Offset],
) -> Ledger:
    """Restores a ledger as a new owner does: the balances, then the ids just before the next transfer."""
    ledger = new(WINDOW, rejected)
    for source, balance in topic:
        ledger.restore(balance, source if balance.version else NO_OFFSET)
    for record in history:
        if next_offset - WINDOW <= record.offset < next_offset:
            ledger.remember_id(*record)
    return ledger


def rejected_offsets(history: list[TransferRecord], decisions: list[Decision]) -> set[Offset]:
    return {
        record.offset
        for record, decision in zip(history, decisions, strict=True)
        if decision.verdict is Verdict.REJECTED
    }


def check_against_model(new: NewLedger, history: list[TransferRecord]) -> None:
    decisions = run(new(WINDOW, set()), history)
    for record, decision, expected in zip(history, decisions, expected_results(history, WINDOW), strict=True):
        assert decision.verdict is expected.verdict
        for balance in decision.balances:
            assert rejection_reason(balance, record.transfer.account.encode()) is None
        if decision.balances:
            last = decision.balances[-1]
            assert Fraction(last.amount.unscaled, 10**last.amount.scale) == expected.balance
            assert (last.version, last.transfer_id) == (expected.version, record.transfer.id)


def check_restart(new: NewLedger, history: list[TransferRecord], cut: int, compacted: bool) -> None:
    decisions = run(new(WINDOW, set()), history)
    topic = written(history[:cut], decisions[:cut])
    if compacted:
        topic = list({balance.account: (source, balance) for source, balance in topic}.values())
    next_offset = history[cut].offset if cut < len(history) else Offset(10**6)
    rejected = rejected_offsets(history[:cut], decisions[:cut])
    again = restored(new, history, topic, next_offset, rejected)
    assert run(again, history[cut:]) == decisions[cut:]


def check_lost_offset(new: NewLedger, history: list[TransferRecord], cut: int, back: int) -> None:
    decisions = run(new(WINDOW, set()), history)
    topic = written(history[:cut], decisions[:cut])
    start = max(0, cut - back)
    next_offset = history[start].offset if start < len(history) else Offset(10**6)
    rejected = rejected_offsets(history[:cut], decisions[:cut])
    again = restored(new, history, topic, next_offset, rejected)
    replayed = run(again, history[start:])
    assert topic + written(history[start:], replayed) == written(history, decisions)


@given(histories())
def test_ledger_with_any_history_matches_the_model(history: list[TransferRecord]) -> None:
    check_against_model(Ledger, history)


@given(histories(), st.integers(0, 15), st.booleans())
def test_ledger_restored_at_any_point_decides_as_before(
    history: list[TransferRecord], cut: int, compacted: bool
) -> None:
    check_restart(Ledger, history, min(cut, len(history)), compacted)


@given(histories(), st.integers(0, 15), st.integers(0, 15))
def test_ledger_after_a_lost_offset_applies_nothing_twice(
    history: list[TransferRecord], cut: int, back: int
) -> None:
    check_lost_offset(Ledger, history, min(cut, len(history)), back)


class ForgetsSource(Ledger):
    """Mutant: ignores the source offset of a restored balance."""

    def restore(self, balance: Balance, source: Offset = NO_OFFSET) -> None:
        super().restore(balance, NO_OFFSET)


class ForgetsIds(Ledger):
    """Mutant: does not restore its window of ids."""

    def remember_id(self, offset: Offset, key: bytes | None, transfer: Transfer) -> None:
        pass


class SumsAnything(Ledger):
    """Mutant: accepts a balance that int64 does not hold."""

    def _update_balance(self, offset: Offset, transfer: Transfer, account: LedgerAccount | None) -> Decision:
        decision = super()._update_balance(offset, transfer, account)
        if account is None or decision.verdict is not Verdict.REJECTED:
            return decision
        before = account.balance
        amount = before.amount.add(transfer.amount)
        after = before._replace(transfer_id=transfer.id, amount=amount, version=before.version + 1)
        self._accounts[transfer.account] = LedgerAccount(after, offset)
        return Decision(Verdict.APPLIED, (after,))


QUICK = settings(
    database=None,
    derandomize=True,
    max_examples=2000,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.mutant
def test_ledger_without_source_offsets_applies_twice_after_a_lost_offset() -> None:
    law = given(histories(), st.integers(0, 15), st.integers(0, 15))(
        lambda history, cut, back: check_lost_offset(ForgetsSource, history, min(cut, len(history)), back)
    )
    with convicted_by("topic + written(history[start:], replayed) == written(history, decisions)"):
        QUICK(law)()


@pytest.mark.mutant
def test_ledger_without_its_window_applies_a_duplicate_after_a_restart() -> None:
    law = given(histories(), st.integers(0, 15))(
        lambda history, cut: check_restart(ForgetsIds, history, min(cut, len(history)), compacted=False)
    )
    with convicted_by("run(again, history[cut:]) == decisions[cut:]"):
        QUICK(law)()


@pytest.mark.mutant
def test_ledger_without_the_int64_rule_makes_a_balance_outside_int64() -> None:
    law = given(histories())(lambda history: check_against_model(SumsAnything, history))
    with convicted_by("decision.verdict is expected.verdict"):
        QUICK(law)()


def transfer(id_: str, unscaled: int, scale: int = 2) -> Transfer:
    return Transfer(TransferId(id_), AccountId("a"), Money(unscaled, scale), 0)


def test_unknown_account_opens_at_zero_in_the_scale_of_its_transfer() -> None:
    ledger = Ledger(WINDOW)
    assert ledger.has_unknown_account([transfer("t", 1250)])
    decision = ledger.apply(Offset(7), b"a", transfer("t", 1250))
    assert decision.verdict is Verdict.OPENED
    assert decision.balances == (
        Balance(AccountId("a"), "", TransferId(""), Money(0, 2), 0),
        Balance(AccountId("a"), "", TransferId("t"), Money(1250, 2), 1),
    )
    assert not ledger.has_unknown_account([transfer("t2", 1)])


def test_restored_account_keeps_its_client() -> None:
    ledger = Ledger(WINDOW)
    ledger.restore(Balance(AccountId("a"), "client-7", TransferId(""), Money(500, 1), 0))
    [after] = ledger.apply(Offset(0), b"a", transfer("t", 25)).balances
    assert after == Balance(AccountId("a"), "client-7", TransferId("t"), Money(5025, 2), 1)


def test_removed_account_is_unknown_again() -> None:
    ledger = Ledger(WINDOW)
    ledger.apply(Offset(0), b"a", transfer("t", 1250))
    ledger.remove(AccountId("a"))
    assert ledger.has_unknown_account([transfer("t2", 1)])


def test_erased_transfers_and_their_balances_do_not_bring_the_account_back() -> None:
    ledger, account = Ledger(WINDOW), AccountId("a")
    ledger.restore(Balance(account, "Ada", TransferId("0"), Money(700, 2), 4), Offset(1))
    ledger.remove(account, Offset(5))
    erased = Transfer(TransferId("1"), account, Money(1, 2), 0)
    assert ledger.apply(Offset(4), b"a", erased) == Decision(Verdict.ERASED)
    ledger.restore(Balance(account, "Ada", TransferId("1"), Money(701, 2), 5), Offset(4))  # under way
    opened, after = ledger.apply(Offset(5), b"a", erased._replace(id=TransferId("2"))).balances
    assert (str(opened.amount), opened.client_id, str(after.amount)) == ("0.00", "", "0.01")
    assert ledger.apply(Offset(6), b"b", erased._replace(account=AccountId("b"))).verdict is Verdict.OPENED


def test_balance_from_after_an_erasure_or_of_an_unknown_source_opens_the_account() -> None:
    for source in (Offset(5), NO_OFFSET):
        ledger, account = Ledger(WINDOW), AccountId("a")
        ledger.remove(account, Offset(5))
        ledger.restore(Balance(account, "Ada", TransferId("1"), Money(700, 2), 5), source)
        [after] = ledger.apply(Offset(6), b"a", transfer("2", 1)).balances
        assert (after.client_id, str(after.amount)) == ("Ada", "7.01")


def test_ledger_changes_the_accounts_that_it_was_given() -> None:
    given_accounts: dict[AccountId, LedgerAccount] = {}
    ledger = Ledger(WINDOW, accounts=given_accounts)
    [_, after] = ledger.apply(Offset(0), b"a", transfer("t", 1)).balances
    assert given_accounts == {AccountId("a"): LedgerAccount(after, Offset(0))}


def test_rejection_has_a_reason() -> None:
    ledger = Ledger(WINDOW)
    assert ledger.apply(Offset(0), None, transfer("t", 1)).reason == "key is not the account id"
    ledger.apply(Offset(1), b"a", transfer("t", 2**63 - 1))
    assert ledger.apply(Offset(2), b"a", transfer("t2", 1)).reason == "balance: amount leaves int64"


@pytest.mark.parametrize(
    ("distance", "verdict"), [(WINDOW, Verdict.DUPLICATE), (WINDOW + 1, Verdict.APPLIED)]
)
def test_repeated_id_is_a_duplicate_only_within_the_window(distance: int, verdict: Verdict) -> None:
    ledger = Ledger(WINDOW)
    ledger.apply(Offset(0), b"a", transfer("t", 1))
    assert ledger.apply(Offset(distance), b"a", transfer("t", 1)).verdict is verdict


def test_restored_balance_keeps_the_highest_source_of_its_account() -> None:
    ledger = Ledger(WINDOW)
    balance = Balance(AccountId("a"), "", TransferId("t"), Money(1, 2), 1)
    ledger.restore(balance, Offset(9))
    ledger.restore(balance._replace(version=2), Offset(4))
    assert ledger.apply(Offset(9), b"a", transfer("u", 1)) == Decision(Verdict.ALREADY_RECORDED)
    assert ledger.apply(Offset(10), b"a", transfer("v", 1)).verdict is Verdict.APPLIED


def test_removal_of_an_unknown_account_changes_nothing() -> None:
    ledger = Ledger(WINDOW)
    ledger.remove(AccountId("a"))
    assert ledger.has_unknown_account([transfer("t", 1)])


def test_transfer_that_was_rejected_before_is_not_remembered() -> None:
    ledger = Ledger(WINDOW, {Offset(3)})
    ledger.restore(Balance(AccountId("a"), "", TransferId(""), Money(0, 2), 0))
    ledger.remember_id(Offset(3), b"a", transfer("t", 1))
    ledger.remember_id(Offset(4), b"b", transfer("u", 1))  # its key is that of another account
    for offset, id_ in ((5, "t"), (6, "u")):
        assert ledger.apply(Offset(offset), b"a", transfer(id_, 1)).verdict is Verdict.APPLIED
    ledger.remember_id(Offset(7), b"a", transfer("v", 1))
    assert ledger.apply(Offset(8), b"a", transfer("v", 1)).verdict is Verdict.DUPLICATE


def test_transfer_of_a_larger_scale_than_allowed_is_rejected_and_not_remembered() -> None:
    ledger = Ledger(WINDOW, max_scale=1)
    ledger.remember_id(Offset(3), b"a", transfer("t", 10))
    assert ledger.apply(Offset(4), b"a", transfer("t", 10)).verdict is Verdict.REJECTED
    assert ledger.apply(Offset(5), b"a", transfer("t", 1, scale=1)).verdict is Verdict.OPENED
