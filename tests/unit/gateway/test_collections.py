from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.live.collections import OrderedSet, TimerWheel


def test_ordered_set_keeps_the_order_in_which_items_were_added_first() -> None:
    items = OrderedSet[str]()
    for item in ("b", "a", "c", "b"):
        items.add(item)
    assert list(items) == ["b", "a", "c"]
    items.discard("a")
    items.discard("a")
    assert list(items) == ["b", "c"]
    assert (items.pop_last(), items.pop_last(), list(items)) == ("c", "b", [])


def test_timer_wheel_pops_each_item_once_in_its_second() -> None:
    wheel: TimerWheel[str] = TimerWheel()
    wheel.add("a", 10.2)
    wheel.add("b", 12.0)
    assert not list(wheel.pop_due(10.9))
    assert list(wheel.pop_due(11.0)) == ["a"]
    assert list(wheel.pop_due(11.9)) == []
    assert list(wheel.pop_due(99.0)) == ["b"]
    wheel.add("overdue", 3.0)
    assert list(wheel.pop_due(99.5)) == []
    assert list(wheel.pop_due(100.0)) == ["overdue"]


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())), st.lists(st.floats(0, 40)))
def test_timer_wheel_pops_all_items_but_the_discarded(
    items: list[tuple[int, bool]], times: list[float]
) -> None:
    wheel: TimerWheel[int] = TimerWheel()
    slots = [wheel.add(number, due) for number, (due, _) in enumerate(items)]
    for number, (_, is_discarded) in enumerate(items):
        if is_discarded:
            wheel.discard(number, slots[number])
    popped = [(number, now) for now in [*sorted(times), 50.0] for number in wheel.pop_due(now)]
    kept = [number for number, (_, is_discarded) in enumerate(items) if not is_discarded]
    assert sorted(number for number, _ in popped) == kept
    assert all(now >= items[number][0] for number, now in popped)
    for number, slot in enumerate(slots):
        wheel.discard(number, slot)  # has no effect after the item was popped
