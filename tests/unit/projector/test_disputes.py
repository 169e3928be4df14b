"""The counts of disputed, drifting and unverified accounts."""

from livebalance.projector.fold.account import Account
from livebalance.projector.fold.disputes import Disputes
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.money import ZERO, Money
from livebalance.wire.timestamp import Millis


def make_account(id_: str, unverified: int | None = None, disputed: int | None = None) -> Account:
    account = Account(AccountId(id_), Lane(0))
    account.unverified_since = None if unverified is None else Millis(unverified)
    account.disputed_since = None if disputed is None else Millis(disputed)
    return account


def test_counts_follow_updates_of_accounts() -> None:
    disputes, now = Disputes(), Millis(100)
    assert (disputes.disputed, disputes.longest_unverified_ms(now)) == (0, 0)
    disputes.update(
        [
            make_account("a", unverified=40),
            make_account("b", unverified=60, disputed=1),
            make_account("c", disputed=2),
        ]
    )
    assert (disputes.disputed, disputes.longest_unverified_ms(now)) == (2, 60)
    disputes.update([make_account("a"), make_account("c")])
    assert (disputes.disputed, disputes.longest_unverified_ms(now)) == (1, 40)
    assert disputes.longest_unverified_ms(Millis(50)) == 0  # a producer's clock may be ahead
    disputes.clear()
    assert (disputes.disputed, disputes.longest_unverified_ms(now)) == (0, 0)


def test_account_of_cut_lane_without_transfers_is_not_counted_as_unverified() -> None:
    disputes, now, cut = Disputes(), Millis(100), [Lane(0)]
    disputes.update([make_account("a", unverified=40)], cut)
    assert disputes.longest_unverified_ms(now) == 0
    disputes.update([make_account("a", unverified=40)], [Lane(1)])
    assert disputes.longest_unverified_ms(now) == 60
    disputes.update([make_account("a", unverified=40)], cut)
    assert disputes.longest_unverified_ms(now) == 0
    known, moved = make_account("b", unverified=50), make_account("c", unverified=60)
    known.opening, moved.transfer_count = ZERO, 1
    disputes.update([moved], cut)
    assert disputes.longest_unverified_ms(now) == 40
    disputes.update([known], cut)
    assert disputes.longest_unverified_ms(now) == 50


def test_drifting_accounts_are_counted_among_disputed() -> None:
    disputes, drifting = Disputes(), make_account("a", disputed=1)
    drifting.amount, drifting.opening, drifting.named_total = Money(500, 2), ZERO, Money(400, 2)
    disputes.update([drifting, make_account("b", disputed=2)])
    assert (disputes.disputed, disputes.drifting) == (2, 1)
    drifting.named_total = Money(5, 0)
    disputes.update([drifting])
    assert (disputes.disputed, disputes.drifting) == (2, 0)
    drifting.named_total = ZERO
    disputes.update([drifting])
    disputes.clear()
    assert disputes.drifting == 0
