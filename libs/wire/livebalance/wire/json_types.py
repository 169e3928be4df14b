"""How values are spelt in JSON, for whoever reads a schema. None of it is checked when a frame is read."""

from typing import Annotated

from msgspec import Meta

from livebalance.wire import identity
from livebalance.wire.money import MAX_SCALE, MAX_TEXT

_PLACES = rf"(\.[0-9]{{1,{MAX_SCALE}}})?"


def _text(description: str, pattern: str, **more: object) -> Meta:
    return Meta(description=description, extra_json_schema={"pattern": f"^{pattern}$", **more})


_WHOLE = {"minimum": 0, "maximum": identity.MAX_REVISION}

Amount = Annotated[
    str,
    _text(
        'A decimal number in its own scale, never a number of JSON; no exponent, no "-0"',
        rf"(-?[1-9][0-9]*{_PLACES}|0{_PLACES}|-0\.[0-9]*[1-9][0-9]*)",
        maxLength=MAX_TEXT,
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
    str, _text("Which life of the projection; compared for equality, never for order", "[0-9a-f]{16}")
]
Channel = Annotated[str, _text("An account, as it is followed", r"account:[A-Za-z0-9._-]{1,64}")]
Account = Annotated[identity.AccountId, _text("An account", "[A-Za-z0-9._-]{1,64}")]
Transfer = Annotated[identity.TransferId, _text("Unique in its account", "[A-Za-z0-9._-]{1,64}")]
Named = Annotated[
    identity.TransferId, _text("The transfer a balance names; empty at version 0", "[A-Za-z0-9._-]{0,64}")
]
Source = Annotated[str, _text("Topic, partition and offset in Kafka", r"[A-Za-z0-9._-]{1,249}/[0-9]+@[0-9]+")]
Revision = Annotated[
    identity.Revision,
    Meta(
        description="Grows by 1 with each record applied to the account, in one epoch; 0: none yet",
        extra_json_schema=_WHOLE,
    ),
]
Whole = Annotated[int, Meta(extra_json_schema=_WHOLE)]
