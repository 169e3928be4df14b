"""An instant as the wire writes it: RFC 3339, UTC, milliseconds."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NewType

from livebalance.wire.errors import DecodeError

Millis = NewType("Millis", int)  # ms since 1970-01-01T00:00:00Z

MAX_MILLIS = Millis(253_402_300_799_999)  # 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can spell

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(milliseconds=1)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


@lru_cache(maxsize=256)  # what is of one batch has one time
def rfc3339(at: Millis) -> str:
    """`2026-11-24T17:20:00.000Z`. Raises OverflowError outside the years 1..9999."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")[:-6] + "Z"


def of_rfc3339(text: str) -> Millis:
    """The instant a text of RFC 3339 spells, in any zone, in whole ms, rounded down. Raises DecodeError."""
    if _RFC3339.fullmatch(text) is None:
        raise DecodeError("bad time")
    try:
        return millis(datetime.fromisoformat(text.upper()))
    except ValueError as cause:  # no such day, or a leap second
        raise DecodeError("bad time") from cause


def millis(at: datetime) -> Millis:
    """An aware datetime in whole ms, rounded down."""
    return Millis((at - _EPOCH) // _ONE)


def as_datetime(at: Millis) -> datetime:
    return _EPOCH + timedelta(milliseconds=at)
