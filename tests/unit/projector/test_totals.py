"""How a batch changes the numbers of disputed, drifting and unverified accounts."""

from livebalance.projector.fold.account import Account
from livebalance.projector.fold.totals import lane_differences
from livebalance.readmodel.rows import Totals
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.money import ZERO, Money
from livebalance.wire.timestamp import Millis


def make_account(lane: int = 0, unverified: int | None = None, disputed: int | None = None) -> Account:
    account = Account(AccountId("a"), Lane(lane))
    account.unverified_since = None if unverified is None else Millis(unverified)
    account.disputed_since = None if disputed is None else Millis(disputed)
    return account


def test_difference_is_what_changed_in_each_lane() -> None:
    differences = lane_differences(
        [
            (None, make_account(unverified=40)),
            (make_account(disputed=1), make_account(unverified=60, disputed=1)),
            (make_account(lane=2, unverified=1, disputed=1), make_account(lane=2)),
            (make_account(lane=3, disputed=1), make_account(lane=3, disputed=1)),
        ]
    )
    assert differences == {0: Totals(unverified=2), 2: Totals(disputed=-1, unverified=-1)}


def test_drifting_account_is_counted_beside_disputed() -> None:
    disputed, drifting = make_account(disputed=1), make_account(disputed=1)
    drifting.amount, drifting.opening, drifting.named_total = Money(500, 2), ZERO, Money(400, 2)
    assert lane_differences([(None, drifting)]) == {0: Totals(disputed=1, drifting=1)}
    assert lane_differences([(drifting, disputed)]) == {0: Totals(drifting=-1)}
    drifting.named_total = Money(5, 0)
    assert lane_differences([(disputed, drifting)]) == {}
