"""Revocations: tokens and accounts whose rights an operator revoked before they expired.

A revocation applies to tokens issued up to a minute after it: the issuer's clock may differ from Postgres'.
A token issued later has its full rights again.
"""

from collections.abc import Iterable

from livebalance.gateway.auth.rights import LEEWAY, Rights
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.identity import AccountId

Holder = tuple[str | None, str | None]  # subject and login; None: any


def holders(rights: Rights) -> tuple[Holder, ...]:
    """Returns what a revocation can name to apply to these rights."""
    subject, login = rights.subject, rights.login
    return (None, None), (subject, None), (None, login), (subject, login)


class Revocations:
    """All revocations that are known, by holder and account."""

    def __init__(self) -> None:
        # Tokens issued until that time are revoked, in seconds since 1970. An account of None: all accounts.
        self._issued_until: dict[Holder, dict[AccountId | None, int]] = {}

    def add(self, revocations: Iterable[Revocation]) -> list[Revocation]:
        """Adds revocations, and returns those that revoke more than was revoked before."""
        new = []
        for revocation in revocations:
            holder = (revocation.subject, revocation.login)
            issued_until = self._issued_until.setdefault(holder, {})
            until = revocation.at // 1000 + LEEWAY
            if until > issued_until.get(revocation.account, -1):
                issued_until[revocation.account] = until
                new.append(revocation)
        return new

    def revokes(self, rights: Rights) -> bool:
        """Returns whether all of these rights are revoked."""
        return self._apply(rights, None, holders(rights)[1:])

    def hides(self, rights: Rights, account: AccountId) -> bool:
        """Returns whether these rights are revoked for this account."""
        return self._apply(rights, account, holders(rights))

    def hidden_accounts(self, rights: Rights) -> list[AccountId]:
        """Returns the accounts for which these rights are revoked. It does not read revocations of others."""
        return sorted(
            {
                account
                for holder in holders(rights)
                for account, until in self._issued_until.get(holder, {}).items()
                if account is not None and rights.issued <= until
            }
        )

    def _apply(self, rights: Rights, account: AccountId | None, named: Iterable[Holder]) -> bool:
        return any(rights.issued <= self._issued_until.get(holder, {}).get(account, -1) for holder in named)
