"""Whose time comes when."""

from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.live.collections import TimerWheel


def test_each_is_due_once_and_in_its_second() -> None:
    times: TimerWheel[str] = TimerWheel()
    times.put("a", 10.2)
    times.put("b", 12.0)
    assert not list(times.due(10.9))
    assert list(times.due(11.0)) == ["a"]
    assert list(times.due(11.9)) == []
    assert list(times.due(99.0)) == ["b"]
    times.put("late", 3.0)  # its time is past
    assert list(times.due(99.5)) == []
    assert list(times.due(100.0)) == ["late"]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())), st.lists(st.floats(0, 40)))
def test_who_stays_is_due_and_who_left_is_not(comers: list[tuple[int, bool]], looks: list[float]) -> None:
    times: TimerWheel[int] = TimerWheel()
    slots = [times.put(number, when) for number, (when, _) in enumerate(comers)]
    for number, (_, leaves) in enumerate(comers):
        if leaves:
            times.take_out(number, slots[number])
    found = [(one, now) for now in [*sorted(looks), 50.0] for one in times.due(now)]
    assert sorted(one for one, _ in found) == [n for n, (_, leaves) in enumerate(comers) if not leaves]
    assert all(now >= comers[one][0] for one, now in found)
    for number, slot in enumerate(slots):
        times.take_out(number, slot)  # long past
