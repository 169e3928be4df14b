"""Conversion between milliseconds since 1970, datetimes and RFC 3339 texts in UTC."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NewType

from livebalance.wire.errors import DecodeError

Millis = NewType("Millis", int)  # ms since 1970-01-01T00:00:00Z

MAX_MILLIS = Millis(253_402_300_799_999)  # 9999-12-31T23:59:59.999Z; RFC 3339 has four digits for the year

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def format_rfc3339(at: Millis) -> str:
    """Returns the time as `2026-11-24T17:20:00.000Z`.

    Raises:
        OverflowError: `at` is outside the years 1-9999.
    """
    seconds, milliseconds = divmod(at, 1000)
    return f"{_format_seconds(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=256)  # most times are recent
def _format_seconds(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]


def parse_rfc3339(text: str) -> Millis:
    """Returns the time of an RFC 3339 text in any time zone, rounded down to ms.

    Raises:
        DecodeError: `text` is not RFC 3339, names a day that does not exist, or a leap second.
    """
    if _RFC3339.fullmatch(text) is None:
        raise DecodeError("invalid time")
    try:
        return millis(datetime.fromisoformat(text.upper()))
    except ValueError as cause:
        raise DecodeError("invalid time") from cause


def millis(at: datetime) -> Millis:
    """Returns a timezone-aware datetime in ms since 1970, rounded down."""
    return Millis((at - _EPOCH) // _MILLISECOND)


def limited_millis(at: int) -> Millis:
    """Returns a time that may be any number, limited to the years 1970 to 9999."""
    return Millis(at if 0 <= at <= MAX_MILLIS else min(max(at, 0), MAX_MILLIS))


def as_datetime(at: Millis) -> datetime:
    """Returns the time as a datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=at)
