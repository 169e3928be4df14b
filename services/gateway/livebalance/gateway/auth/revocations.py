"""Revocations: tokens and accounts whose rights an operator revoked before they expired.

A revocation applies to tokens issued up to a minute after it: the issuer's clock may differ from Postgres'.
A token issued later has its full rights again.
"""

from collections.abc import Iterable

from livebalance.gateway.auth.rights import LEEWAY, Rights
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.identity import AccountId

_Target = tuple[str | None, str | None, AccountId | None]  # subject, login, account


class Revocations:
    """All revocations that are known, by subject, login and account."""

    def __init__(self) -> None:
        # Tokens issued until that time are revoked, in seconds since 1970.
        self._issued_until: dict[_Target, int] = {}

    def add(self, revocations: Iterable[Revocation]) -> list[Revocation]:
        """Adds revocations, and returns those that revoke more than was revoked before."""
        new = []
        for revocation in revocations:
            target = (revocation.subject, revocation.login, revocation.account)
            until = revocation.at // 1000 + LEEWAY
            if until > self._issued_until.get(target, -1):
                self._issued_until[target] = until
                new.append(revocation)
        return new

    def revokes(self, rights: Rights) -> bool:
        """Returns whether all of these rights are revoked."""
        return self._apply(rights, None)

    def hides(self, rights: Rights, account: AccountId) -> bool:
        """Returns whether these rights are revoked for this account."""
        return self._apply(rights, account)

    def hidden_accounts(self, rights: Rights) -> list[AccountId]:
        """Returns the accounts for which these rights are revoked."""
        accounts = {account for _, _, account in self._issued_until if account is not None}
        return sorted(account for account in accounts if self.hides(rights, account))

    def _apply(self, rights: Rights, account: AccountId | None) -> bool:
        if not self._issued_until:
            return False
        subject, login = rights.subject, rights.login
        for_everyone = () if account is None else ((None, None, account),)
        targets: tuple[_Target, ...] = (
            *for_everyone,
            (subject, None, account),
            (None, login, account),
            (subject, login, account),
        )
        return any(rights.issued <= self._issued_until.get(target, -1) for target in targets)
