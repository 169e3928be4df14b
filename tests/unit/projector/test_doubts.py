"""Which accounts are in doubt."""

from livebalance.projector.account import Account
from livebalance.projector.doubts import Doubts
from livebalance.wire.identity import AccountId, Lane
from livebalance.wire.instant import Millis


def account(id_: str, unverified: int | None = None, disputed: int | None = None) -> Account:
    one = Account(AccountId(id_), Lane(0))
    one.unverified_since = None if unverified is None else Millis(unverified)
    one.disputed_since = None if disputed is None else Millis(disputed)
    return one


def test_doubts_follow_the_accounts() -> None:
    doubts, now = Doubts(), Millis(100)
    assert (doubts.disputed, doubts.waiting_ms(now)) == (0, 0)
    doubts.take(
        [account("a", unverified=40), account("b", unverified=60, disputed=1), account("c", disputed=2)]
    )
    assert (doubts.disputed, doubts.waiting_ms(now)) == (2, 60)
    doubts.take([account("a"), account("c")])
    assert (doubts.disputed, doubts.waiting_ms(now)) == (1, 40)
    assert doubts.waiting_ms(Millis(50)) == 0  # a producer's clock may run ahead
    doubts.forget()
    assert (doubts.disputed, doubts.waiting_ms(now)) == (0, 0)
