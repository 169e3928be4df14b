"""The members of a set: what a client lacks after a number, and the total, compared with a plain model."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.live.sets import members as members_module
from livebalance.gateway.live.sets.members import MemberChange, Members
from livebalance.readmodel.sets.reads import Member
from livebalance.wire.identity import AccountId, Lane, Revision
from livebalance.wire.views import MemberView, TotalView

ACCOUNTS = st.sampled_from([AccountId(name) for name in "abcd"])
AMOUNTS = st.sampled_from(["0", "1.5", "-1.50", "2.250", "-7", "9223372036854775807"])
CURRENCIES = st.sampled_from([None, "EUR", "USD"])
PUTS = st.tuples(ACCOUNTS, AMOUNTS, CURRENCIES)
CHANGES = st.lists(st.one_of(PUTS, ACCOUNTS), max_size=40)
Model = dict[AccountId, MemberView]


def member(account: AccountId, amount: str, currency: str | None) -> Member:
    return Member(MemberView(account, Revision(1), amount, currency, "c", None), Lane(0))


def change(members: Members, model: Model, step: object) -> None:
    """Puts a member, or removes it if it is one."""
    if isinstance(step, tuple):
        put = member(*step)
        members.put(put)
        model[put.view.account] = put.view
    elif step in model:
        account = next(account for account in model if account == step)
        members.remove(account)
        del model[account]


def stored_totals(model: Model) -> list[TotalView]:
    """Returns what SQL says: the scale of a sum is the greatest of its rows."""
    by_currency: dict[str | None, list[Decimal]] = {}
    for view in model.values():
        by_currency.setdefault(view.currency, []).append(Decimal(view.amount))
    return [
        TotalView(currency, format(sum(amounts, Decimal()), "f"), len(amounts))
        for currency, amounts in sorted(by_currency.items(), key=lambda item: item[0] or "")
    ]


def apply(shown: Model, changes: list[MemberChange]) -> None:
    for each in changes:
        if each.view is None:
            shown.pop(each.account, None)
        else:
            shown[each.account] = each.view


@given(CHANGES)
def test_total_is_that_of_sql_after_each_change(steps: list[object]) -> None:
    members, model = Members(), Model()
    for step in steps:
        change(members, model, step)
        assert members.totals.views() == stored_totals(model)
        assert len(members) == len(model)
        assert {each.account: each.view for each in members} == model


@given(CHANGES, CHANGES, st.integers(1, 3))
def test_pages_after_a_number_lead_to_the_members(
    before: list[object], after: list[object], count: int
) -> None:
    members, model = Members(), Model()
    for step in before:
        change(members, model, step)
    shown, number = dict(model), members.newest
    for step in after:
        change(members, model, step)
    more = True
    while more:
        changes, more = members.after(number, count, 0)
        apply(shown, changes)
        number = changes[-1].number if changes else number
    assert shown == model


@given(CHANGES, st.dictionaries(ACCOUNTS, st.tuples(AMOUNTS, CURRENCIES)))
def test_replaced_members_are_the_others_and_name_what_changed(
    steps: list[object], others: dict[AccountId, tuple[str, str | None]]
) -> None:
    members, model = Members(), Model()
    for step in steps:
        change(members, model, step)
    fresh = {account: member(account, *content) for account, content in others.items()}
    changed = {each.account for each in members.replace(fresh)}
    assert {each.account: each.view for each in members} == {
        account: other.view for account, other in fresh.items()
    }
    assert changed == {
        account
        for account in model.keys() | fresh.keys()
        if model.get(account) != (fresh[account].view if account in fresh else None)
    }
    assert members.totals.views() == stored_totals({account: m.view for account, m in fresh.items()})


def test_snapshot_leaves_out_accounts_that_left_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members_module, "MAX_LEFT", 1)
    members = Members()
    for name in "abc":
        members.put(member(AccountId(name), "1", "EUR"))
    members.remove(AccountId("a"))
    assert [each.account for each in members.after(0, 9, members.newest)[0]] == ["b", "c"]
    assert [each.account for each in members.after(0, 9, 0)[0]] == ["b", "c", "a"]
    members.remove(AccountId("b"))
    assert members.forgotten == members.newest
    assert [each.account for each in members.after(0, 9, 0)[0]] == ["c"]
