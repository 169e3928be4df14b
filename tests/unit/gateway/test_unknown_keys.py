from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.auth.unknown_keys import MAX_KEY_IDS, RECHECK_SECONDS, UnknownKeys


def test_unknown_key_is_pending_until_a_read_that_began_later() -> None:
    keys = UnknownKeys()
    keys.on_read(began=1.0)
    assert keys.must_read("new", now=2.0)
    assert keys.must_read("new", now=3.0)
    keys.on_read(began=1.9)  # it was under way, and may have missed the key
    assert keys.must_read("new", now=4.0)
    keys.on_read(began=2.0)
    assert not keys.must_read("new", now=5.0)


def test_key_that_was_not_published_is_looked_for_again_after_a_while() -> None:
    keys = UnknownKeys()
    assert keys.must_read("late", now=0.0)
    keys.on_read(began=1.0)
    assert not keys.must_read("late", now=1.0 + RECHECK_SECONDS - 0.1)
    assert keys.must_read("late", now=1.0 + RECHECK_SECONDS)
    keys.on_read(began=2.0 + RECHECK_SECONDS)
    assert not keys.must_read("late", now=3.0 + RECHECK_SECONDS)


def test_key_that_is_looked_for_again_is_pending_until_a_read_that_began_later() -> None:
    again = 1.0 + RECHECK_SECONDS
    for named in (0.5, 1.0):
        keys = UnknownKeys()
        assert keys.must_read("late", named)
        keys.on_read(began=1.0)
        assert keys.must_read("late", again)
        keys.on_read(began=again - 0.1)  # it was under way, and may have missed the key
        assert keys.must_read("late", again + 1.0)


def test_key_that_was_looked_for_last_is_remembered_longest() -> None:
    keys, again = UnknownKeys(), 1.0 + RECHECK_SECONDS
    for number in range(MAX_KEY_IDS):
        keys.must_read(f"invented-{number}", now=0.0)
    keys.on_read(began=1.0)
    for name in ("invented-0", "invented-1000"):
        assert keys.must_read(name, again)
    keys.on_read(began=again)
    assert not keys.must_read("invented-0", again)
    assert keys.must_read("invented-1", again)


def test_invented_key_ids_are_remembered_up_to_a_maximum() -> None:
    keys = UnknownKeys()
    for number in range(2 * MAX_KEY_IDS):
        keys.must_read(f"invented-{number}", now=0.0)
    assert len(keys._since) == MAX_KEY_IDS
    assert keys.must_read("invented-0", now=0.0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["read", "a", "b", "c"]), st.floats(0.01, RECHECK_SECONDS)), max_size=30
    )
)
def test_key_is_rejected_only_after_a_read_that_began_after_it_was_named(
    inputs: Sequence[tuple[str, float]],
) -> None:
    keys, now, named, began = UnknownKeys(), 0.0, dict[str, float](), float("-inf")
    for name, seconds in inputs:
        now += seconds
        if name == "read":
            keys.on_read(now)
            began = now
        elif not keys.must_read(name, now):
            assert named[name] <= began
            assert now < began + RECHECK_SECONDS
        else:
            named.setdefault(name, now)
