"""What a client may see: whose token it has, of which accounts it speaks, and until when."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, is_id
from livebalance.wire.timestamp import Millis

LEEWAY = 60  # seconds that the clocks of issuer, Postgres and gateway may differ

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,64}", re.ASCII)


class Scope(NamedTuple):
    """Accounts by id, and by how their ids start; the empty prefix is all of them."""

    ids: frozenset[AccountId]
    prefixes: tuple[str, ...] = ()

    def covers(self, account: AccountId) -> bool:
        return account in self.ids or account.startswith(self.prefixes)

    def within(self, prefix: str) -> tuple[list[AccountId], list[str]]:
        """Ids and prefixes of what it covers and `prefix` does too."""
        ids = sorted(one for one in self.ids if one.startswith(prefix))
        wider = any(prefix.startswith(one) for one in self.prefixes)
        return ids, [prefix] if wider else [one for one in self.prefixes if one.startswith(prefix)]


EVERYTHING = Scope(frozenset(), ("",))


def scope(claim: object) -> Scope:
    """Of the claim `accounts`: a list of ids, prefixes (`EU-*`) or `*`. Raises DecodeError."""
    if not isinstance(claim, list) or not all(isinstance(one, str) for one in claim):
        raise DecodeError("accounts are a list of texts")
    return _scope(claim)


def _scope(named: Iterable[str]) -> Scope:
    ids, prefixes = set(), set()
    for one in named:
        if is_id(one):
            ids.add(AccountId(one))
        elif one.endswith("*") and _PREFIX.fullmatch(one[:-1]):
            prefixes.add(one[:-1])
        else:
            raise DecodeError("neither an account nor a prefix")
    return Scope(frozenset(ids), tuple(sorted(prefixes)))


class Rights(NamedTuple):
    """Of a token whose signature, audience, issuer and times were checked."""

    subject: str
    login: str  # what the issuer calls a session: several tokens may be of one
    scope: Scope
    issued: int  # seconds since 1970, by the issuer's clock
    expires: Millis  # as the token says

    def end(self, wall: Millis) -> Millis:
        """When they end: a token that was still taken after its time lasts for the rest of the leeway."""
        return self.expires if self.expires > wall else Millis(self.expires + LEEWAY * 1000)
