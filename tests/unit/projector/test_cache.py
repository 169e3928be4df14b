"""What is remembered, and how much of it."""

from livebalance.projector.postgres.cache import Cache


def test_the_longest_unused_go_first() -> None:
    cache = Cache[str, int](2)
    cache.keep({"a": 1, "b": 2})
    cache.keep({"a": 3})
    cache.keep({"c": 4})
    assert cache.known(["a", "b", "c"]) == {"a": 3, "c": 4}
    cache.clear()
    assert cache.known(["a"]) == {}
