"""The rights that a token gives: its subject, the accounts that it covers, and when it expires."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, SetName, is_id
from livebalance.wire.timestamp import Millis

LEEWAY = 60  # seconds by which the clocks of issuer, Postgres and gateway may differ

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,64}", re.ASCII)


class Scope(NamedTuple):
    """The accounts that a token covers, by id and by prefix. The empty prefix covers every account.

    `clients` covers the sets of these clients, and none of their accounts alone.
    """

    ids: frozenset[AccountId]
    prefixes: tuple[str, ...] = ()
    clients: frozenset[str] = frozenset()

    def covers(self, account: AccountId) -> bool:
        """Returns whether the account is in this scope."""
        return account in self.ids or account.startswith(self.prefixes)

    def covers_set(self, name: SetName) -> bool:
        """Returns whether every account that the set may ever have is in this scope."""
        if name.kind == "client":
            return name.value in self.clients or "" in self.prefixes
        return any(name.value.startswith(prefix) for prefix in self.prefixes)

    def narrow(self, prefix: str) -> tuple[list[AccountId], list[str]]:
        """Returns the ids and the prefixes of the accounts in this scope that start with `prefix`."""
        ids = sorted(account for account in self.ids if account.startswith(prefix))
        if any(prefix.startswith(wider) for wider in self.prefixes):
            return ids, [prefix]
        return ids, [narrower for narrower in self.prefixes if narrower.startswith(prefix)]


EVERYTHING = Scope(frozenset(), ("",))


def parse_scope(claim: object, clients: object = ()) -> Scope:
    """Returns the scope of the claim `accounts`: a list of ids, prefixes (`EU-*`) or `*`.

    `clients` is the claim of that name, a list of client ids.

    Raises:
        DecodeError: A claim has another form.
    """
    if not isinstance(claim, list) or not all(isinstance(entry, str) for entry in claim):
        raise DecodeError("accounts are a list of texts")
    if not isinstance(clients, list | tuple) or not all(isinstance(entry, str) for entry in clients):
        raise DecodeError("clients are a list of texts")
    return _scope(claim)._replace(clients=frozenset(clients))


def _scope(entries: Iterable[str]) -> Scope:
    ids, prefixes = set(), set()
    for entry in entries:
        if is_id(entry):
            ids.add(AccountId(entry))
        elif entry.endswith("*") and _PREFIX.fullmatch(entry[:-1]):
            prefixes.add(entry[:-1])
        else:
            raise DecodeError("neither an account nor a prefix")
    return Scope(frozenset(ids), tuple(sorted(prefixes)))


class Rights(NamedTuple):
    """The rights of a token whose signature, audience, issuer and times were verified."""

    subject: str
    login: str  # the issuer's id of a session (`sid`), which several tokens may share
    scope: Scope
    issued: int  # seconds since 1970, by the issuer's clock
    expires: Millis  # as the token says

    def ends_at(self, wall: Millis) -> Millis:
        """Returns when these rights end. A token accepted after `expires` lasts for the leeway."""
        return self.expires if self.expires > wall else Millis(self.expires + LEEWAY * 1000)
