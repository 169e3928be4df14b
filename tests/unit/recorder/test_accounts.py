"""The accounts in memory: an account counts as absent only if it was looked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.recorder.accounts import Changes, LoadedAccounts
from livebalance.recorder.ledger import LedgerAccount
from livebalance.wire.identity import AccountId, Offset, TransferId
from livebalance.wire.kafka.record import Balance
from livebalance.wire.money import Money

NAMES = [AccountId(name) for name in "abcdef"]
LIMIT = 2

Step = tuple[str, AccountId]
steps = st.lists(
    st.tuples(st.sampled_from(["change", "remove", "drain"]), st.sampled_from(NAMES)), max_size=30
)


def account(id_: AccountId, source: int) -> LedgerAccount:
    return LedgerAccount(Balance(id_, "", TransferId("t"), Money(source, 2), 1), Offset(source))


def test_account_that_is_not_loaded_is_an_error() -> None:
    with pytest.raises(KeyError):
        LoadedAccounts(LIMIT).get(NAMES[0])


def test_loaded_account_without_a_stored_balance_is_absent() -> None:
    accounts = LoadedAccounts(LIMIT)
    accounts.load({NAMES[0]}, {})
    assert accounts.get(NAMES[0]) is None
    assert accounts.missing(NAMES[:2]) == {NAMES[1]}


def test_drain_keeps_recent_accounts_and_all_changes() -> None:
    accounts = LoadedAccounts(LIMIT)
    accounts.load(NAMES[:4], {})
    for name in NAMES[2:6]:
        accounts[name] = account(name, 1)
    assert accounts.drain().keys() == set(NAMES[2:6])
    assert accounts.missing(NAMES) == set(NAMES[:2])
    assert accounts.drain() == {}
    assert accounts.missing(NAMES) == set(NAMES[:4])


@given(steps)
def test_accounts_in_memory_and_in_the_file_are_all_accounts(history: list[Step]) -> None:
    """The file has the changes of each drain but the last: the last may still be on its way."""
    accounts, model, file, writing = LoadedAccounts(LIMIT), Changes(), Changes(), Changes()
    for number, (step, name) in enumerate(history):
        if step == "drain":
            file.update(writing)
            writing = accounts.drain()
        elif missing := accounts.missing([name]):
            accounts.load(missing, {id_: value for id_, value in file.items() if value})
        if step == "change":
            accounts[name] = model[name] = account(name, number)
        elif step == "remove":
            accounts.pop(name, None)
            model[name] = None
        for id_ in NAMES:
            known = file.get(id_) if accounts.missing([id_]) else accounts.get(id_)
            assert known == model.get(id_)
        assert accounts.changes <= len(NAMES)
