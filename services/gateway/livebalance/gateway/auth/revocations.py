"""What was taken back before its time, and whom that concerns.

A revocation concerns tokens issued until it was made, and for a minute more: the clock of who issues them is
not ours. Who is given a token later may see again what that token says.
"""

from collections.abc import Iterable

from livebalance.gateway.auth.rights import LEEWAY, Rights
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.identity import AccountId

_Named = tuple[str | None, str | None, AccountId | None]  # subject, login, account


class Revocations:
    def __init__(self) -> None:
        self._until: dict[_Named, int] = {}  # tokens issued until then are concerned; seconds since 1970

    def add(self, some: Iterable[Revocation]) -> list[Revocation]:
        """Those that say more than was known."""
        new = []
        for one in some:
            named, until = (one.subject, one.login, one.account), one.at // 1000 + LEEWAY
            if until > self._until.get(named, -1):
                self._until[named] = until
                new.append(one)
        return new

    def ended(self, rights: Rights) -> bool:
        """Nothing may be seen with these rights any more."""
        return self._concern(rights, None)

    def hide(self, rights: Rights, account: AccountId) -> bool:
        """This account may not be seen with these rights, whatever they say."""
        return self._concern(rights, account)

    def _concern(self, rights: Rights, account: AccountId | None) -> bool:
        if not self._until:
            return False
        subject, login = rights.subject, rights.login
        everyone = () if account is None else ((None, None, account),)
        named: tuple[_Named, ...] = (
            *everyone,
            (subject, None, account),
            (None, login, account),
            (subject, login, account),
        )
        return any(rights.issued <= self._until.get(one, -1) for one in named)
