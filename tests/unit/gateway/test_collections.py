from livebalance.gateway.live.collections import OrderedSet


def test_ordered_set_keeps_the_order_in_which_items_were_added_first() -> None:
    items = OrderedSet[str]()
    for item in ("b", "a", "c", "b"):
        items.add(item)
    assert list(items) == ["b", "a", "c"]
    items.discard("a")
    items.discard("a")
    assert list(items) == ["b", "c"]
    assert (items.pop_last(), items.pop_last(), list(items)) == ("c", "b", [])
