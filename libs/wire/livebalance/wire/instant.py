"""An instant as the wire writes it: RFC 3339, UTC, milliseconds."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NewType

Millis = NewType("Millis", int)  # ms since 1970-01-01T00:00:00Z

MAX_MILLIS = Millis(253_402_300_799_999)  # 9999-12-31T23:59:59.999Z, the last instant RFC 3339 can spell

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(milliseconds=1)


@lru_cache(maxsize=256)  # what is of one batch has one time
def rfc3339(at: Millis) -> str:
    """`2026-11-24T17:20:00.000Z`. Raises OverflowError outside the years 1..9999."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds")[:-6] + "Z"


def millis(at: datetime) -> Millis:
    """An aware datetime in whole ms, rounded down."""
    return Millis((at - _EPOCH) // _ONE)


def as_datetime(at: Millis) -> datetime:
    return _EPOCH + timedelta(milliseconds=at)
