"""How accounts of the projection and of its shadow differ. Pure."""

import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from livebalance.wire.identity import AccountId


class Difference(NamedTuple):
    """A field of an account that differs. `account` is the field if one of both has no such account."""

    account: AccountId
    field: str
    live: str | None
    shadow: str | None

    def __str__(self) -> str:
        return f"{self.account}: {self.field} is {self.live or 'null'}, replayed {self.shadow or 'null'}"


def account_differences(account: AccountId, live: str | None, shadow: str | None) -> list[Difference]:
    """Returns the fields that differ between two JSON objects with the same keys. None: no account."""
    if live is None or shadow is None:
        presence = ["missing" if row is None else "present" for row in (live, shadow)]
        return [] if live is shadow else [Difference(account, "account", *presence)]
    fields, replayed = _fields(live), _fields(shadow)
    return [
        Difference(account, name, _text(value), _text(replayed[name]))
        for name, value in fields.items()
        if value != replayed[name]
    ]


def _fields(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(text, parse_float=Decimal)  # amounts are never floats
    return fields


def _text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@dataclass
class DifferenceCounts:
    """Counts differences, and keeps the first `limit` of them."""

    limit: int
    accounts: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    first: list[Difference] = field(default_factory=list)

    def add(self, differences: list[Difference]) -> None:
        """Adds the differences of an account."""
        self.accounts += bool(differences)
        self.fields.update(difference.field for difference in differences)
        self.first += differences[: self.limit - len(self.first)]
