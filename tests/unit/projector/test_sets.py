"""Differences of batches add up to the totals of sets, whatever the accounts were before and are then."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from livebalance.projector.fold.account import Account
from livebalance.projector.fold.sets import SetIndex, set_differences
from livebalance.wire.identity import AccountId, Lane, SetName
from livebalance.wire.money import Money

IDS = [AccountId(id_) for id_ in ("EU-1", "EU-12", "EU", "US-1")]
SETS = [
    SetName("prefix", ""),
    SetName("prefix", "EU-"),
    SetName("prefix", "EU-1"),
    SetName("prefix", "EU-123"),
    SetName("client", "c-1"),
    SetName("client", "EU-1"),
]
NEW = {id_: Account(id_, Lane(number % 2)) for number, id_ in enumerate(IDS)}
ACCOUNTS = st.builds(
    lambda account, amount, client: replace(account, amount=amount, client_id=client and str(client)),
    st.sampled_from(list(NEW.values())),
    st.none() | st.builds(Money, st.integers(-(2**63), 2**63 - 1), st.sampled_from([0, 2, 18])),
    st.sampled_from(["c-1", "c-2", "EU-1"]),
)
BATCHES = st.lists(
    st.tuples(
        st.lists(ACCOUNTS, max_size=4, unique_by=lambda account: account.id),
        st.sampled_from([None, "EUR", "USD"]),
    ),
    max_size=8,
)


def belongs_to(account: Account, name: SetName) -> bool:
    return account.id.startswith(name.value) if name.kind == "prefix" else account.client_id == name.value


@given(BATCHES, st.sets(st.sampled_from(SETS)))
def test_differences_of_all_batches_are_the_totals(
    batches: list[tuple[list[Account], str | None]], names: set[SetName]
) -> None:
    stored: dict[AccountId, Account] = {}
    accounts, amounts = Counter[object](), Counter[object]()
    for changed, currency in batches:
        pairs = [(stored.get(account.id), account) for account in changed]
        for channel, lane, of_currency, scale, count, amount in set_differences(
            SetIndex(names), pairs, currency
        ):
            assert amount.scale == scale
            accounts[channel, lane, of_currency, scale] += count
            amounts[channel, lane, of_currency, scale] += amount.unscaled
        stored |= {account.id: replace(account, currency=currency) for account in changed}
    expected_accounts, expected_amounts = Counter[object](), Counter[object]()
    for account in stored.values():
        for name in names:
            if account.amount is not None and belongs_to(account, name):
                key = name.channel, account.lane, account.currency, account.amount.scale
                expected_accounts[key] += 1
                expected_amounts[key] += account.amount.unscaled
    assert accounts == expected_accounts
    assert amounts == expected_amounts


def test_batch_that_changes_no_total_has_no_difference() -> None:
    index = SetIndex(SETS)
    assert index
    assert not SetIndex()
    before = replace(NEW[IDS[0]], amount=Money(100, 2), client_id="c-1", currency="EUR")
    assert set_differences(index, [(before, replace(before, transfer_count=1))], "EUR") == []
    assert set_differences(SetIndex(), [(None, before)], "EUR") == []
    assert {each.channel for each in set_differences(index, [(None, before)], "EUR")} == {
        "prefix:",
        "prefix:EU-",
        "prefix:EU-1",
        "client:c-1",
    }
