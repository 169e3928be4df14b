"""Similar events are logged at once the first time, and then together."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.limits.recurring import INTERVAL_SECONDS, RecurringEvents


def test_first_event_of_each_kind_is_reported_at_once() -> None:
    events = RecurringEvents()
    assert [events.add(kind, 5.0) for kind in ("forged", "forged", "unsigned")] == [1, 0, 1]


def test_following_events_are_reported_together_with_the_next_after_the_interval() -> None:
    events = RecurringEvents()
    assert events.add("forged", 0.0) == 1
    assert sum(events.add("forged", INTERVAL_SECONDS * step / 1000) for step in range(1000)) == 0
    assert events.add("forged", INTERVAL_SECONDS) == 1001
    assert events.add("forged", INTERVAL_SECONDS + 1) == 0


@given(st.lists(st.integers(0, 40).map(lambda eighths: eighths / 8), max_size=200))  # sums are exact
def test_lines_are_an_interval_apart_and_count_each_event_once(pauses: list[float]) -> None:
    events, now, times, counted = RecurringEvents(), 0.0, list[float](), 0
    for pause in [*pauses, 2 * INTERVAL_SECONDS]:  # the last event is due, whatever came before
        now += pause
        if count := events.add("forged", now):
            times.append(now)
            counted += count
    assert counted == len(pauses) + 1
    assert all(later - earlier >= INTERVAL_SECONDS for earlier, later in pairwise(times))
