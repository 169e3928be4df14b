import contextlib
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.wire.errors import DecodeError
from livebalance.wire.timestamp import MAX_MILLIS, Millis, as_datetime, format_rfc3339, parse_rfc3339
from tests.unit.wire import samples


@given(samples.times)
def test_time_round_trips(at: Millis) -> None:
    assert parse_rfc3339(format_rfc3339(at)) == at


DAY = 24 * 60 * 60 * 1000


@given(st.integers(DAY, MAX_MILLIS - DAY).map(Millis), st.integers(-1439, 1439))
def test_text_in_any_time_zone_is_parsed(at: Millis, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    assert parse_rfc3339(as_datetime(at).astimezone(zone).isoformat()) == at


@given(st.text("0123456789-:.+TZtz ", max_size=40))
def test_random_text_is_a_time_or_raises_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-24",
        "20261124T172000Z",
        "2026-W48-2T17:20:00Z",
        "2026-11-24T17:20:00",
        "2026-11-24T17:20Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T17:20:60Z",
        "2026-11-24T17:20:00,5Z",
        "2026-11-24T17:20:00+2",
        "0000-11-24T17:20:00Z",
        "٢026-11-24T17:20:00Z",
    ],
)
def test_text_that_is_not_rfc_3339_is_rejected(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_rfc3339(text)


def test_fraction_of_a_millisecond_is_rounded_down() -> None:
    assert parse_rfc3339("1970-01-01T01:00:00.123999999+01:00") == 123
