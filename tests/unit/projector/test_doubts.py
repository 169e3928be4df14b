"""Which accounts are in doubt."""

from livebalance.projector.fold.account import Account
from livebalance.projector.fold.disputes import Disputes
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.money import ZERO, Money
from livebalance.wire.timestamp import Millis


def account(id_: str, unverified: int | None = None, disputed: int | None = None) -> Account:
    one = Account(AccountId(id_), Lane(0))
    one.unverified_since = None if unverified is None else Millis(unverified)
    one.disputed_since = None if disputed is None else Millis(disputed)
    return one


def test_doubts_follow_the_accounts() -> None:
    doubts, now = Disputes(), Millis(100)
    assert (doubts.disputed, doubts.longest_unverified_ms(now)) == (0, 0)
    doubts.update(
        [account("a", unverified=40), account("b", unverified=60, disputed=1), account("c", disputed=2)]
    )
    assert (doubts.disputed, doubts.longest_unverified_ms(now)) == (2, 60)
    doubts.update([account("a"), account("c")])
    assert (doubts.disputed, doubts.longest_unverified_ms(now)) == (1, 40)
    assert doubts.longest_unverified_ms(Millis(50)) == 0  # a producer's clock may run ahead
    doubts.clear()
    assert (doubts.disputed, doubts.longest_unverified_ms(now)) == (0, 0)


def test_who_has_not_moved_since_reading_began_waits_for_nothing_that_is_amiss() -> None:
    doubts, now, cut = Disputes(), Millis(100), [Lane(0)]
    doubts.update([account("a", unverified=40)], cut)
    assert doubts.longest_unverified_ms(now) == 0
    doubts.update([account("a", unverified=40)], [Lane(1)])
    assert doubts.longest_unverified_ms(now) == 60
    doubts.update([account("a", unverified=40)], cut)
    assert doubts.longest_unverified_ms(now) == 0
    known, moved = account("b", unverified=50), account("c", unverified=60)
    known.opening, moved.transfer_count = ZERO, 1
    doubts.update([moved], cut)
    assert doubts.longest_unverified_ms(now) == 40
    doubts.update([known], cut)
    assert doubts.longest_unverified_ms(now) == 50


def test_who_drifts_is_among_the_disputed() -> None:
    doubts, one = Disputes(), account("a", disputed=1)
    one.amount, one.opening, one.named_total = Money(500, 2), ZERO, Money(400, 2)
    doubts.update([one, account("b", disputed=2)])
    assert (doubts.disputed, doubts.drifting) == (2, 1)
    one.named_total = Money(5, 0)
    doubts.update([one])
    assert (doubts.disputed, doubts.drifting) == (2, 0)
    one.named_total = ZERO
    doubts.update([one])
    doubts.clear()
    assert doubts.drifting == 0
