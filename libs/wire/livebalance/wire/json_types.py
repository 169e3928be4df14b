"""Types that describe JSON values in schemas (docs/asyncapi.json, OpenAPI). Decoding does not check them."""

from typing import Annotated

from msgspec import Meta

from livebalance.wire import identity
from livebalance.wire.money import MAX_SCALE, MAX_TEXT_LENGTH

_DECIMALS = rf"(\.[0-9]{{1,{MAX_SCALE}}})?"


def _text(description: str, pattern: str, **keywords: object) -> Meta:
    return Meta(description=description, extra_json_schema={"pattern": f"^{pattern}$", **keywords})


_COUNT = {"minimum": 0, "maximum": identity.MAX_REVISION}

Amount = Annotated[
    str,
    _text(
        'Decimal number with its own scale, as a string; no exponent, no "-0"',
        rf"(-?[1-9][0-9]*{_DECIMALS}|0{_DECIMALS}|-0\.[0-9]*[1-9][0-9]*)",
        maxLength=MAX_TEXT_LENGTH,
    ),
]
Time = Annotated[
    str,
    _text(
        "RFC 3339, UTC, milliseconds",
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z",
        format="date-time",
    ),
]
Epoch = Annotated[
    str,
    _text(
        "Identifies the period in which revisions can be compared; epochs themselves have no order",
        "[0-9a-f]{16}",
    ),
]
Channel = Annotated[str, _text("Name of the channel of an account", r"account:[A-Za-z0-9._-]{1,64}")]
SetChannel = Annotated[
    str,
    _text(
        "Name of the channel of a set of accounts: those with a prefix, or those of a client",
        r"(prefix:[A-Za-z0-9._-]{0,64}|client:[A-Za-z0-9._-]{1,64})",
    ),
]
AnyChannel = Annotated[
    str,
    _text(
        "Name of the channel of an account, or of a set of accounts",
        r"((account|client):[A-Za-z0-9._-]{1,64}|prefix:[A-Za-z0-9._-]{0,64})",
    ),
]
Account = Annotated[identity.AccountId, _text("Account id", "[A-Za-z0-9._-]{1,64}")]
Transfer = Annotated[
    identity.TransferId, _text("Transfer id, unique within its account", "[A-Za-z0-9._-]{1,64}")
]
NamedTransfer = Annotated[
    identity.TransferId,
    _text("Last transfer that the balance includes; empty at version 0", "[A-Za-z0-9._-]{0,64}"),
]
Source = Annotated[str, _text("Topic, partition and offset in Kafka", r"[A-Za-z0-9._-]{1,249}/[0-9]+@[0-9]+")]
Revision = Annotated[
    identity.Revision,
    Meta(
        description="Increases by 1 with each record of the account, within one epoch; 0: no record yet",
        extra_json_schema=_COUNT,
    ),
]
Count = Annotated[int, Meta(extra_json_schema=_COUNT)]
