import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livebalance.gateway.limits.connections import (
    AT_ONCE,
    STRIKES,
    STRIKES_WITHIN,
    ConnectionLimiter,
    ConnectionLimits,
    Rejection,
    TrustedProxies,
    client_address,
)

PROXIES = TrustedProxies(["127.0.0.1", "10.1.0.0/16", "fd00::/8"])

HOUSE = ConnectionLimits(connections=6, per_second=50, address_connections=3, address_per_second=10)
ROOM = 10


def test_each_bound_has_its_word() -> None:
    door = ConnectionLimiter(HOUSE)
    assert [door.admit("a", 0.0) for _ in range(4)] == [None] * 3 + [Rejection("address_full", 10.0)]
    assert [door.admit("b", 0.0) for _ in range(3)] == [None] * 3
    assert door.admit("c", 0.0) == Rejection("full", 10.0)
    door.leave("a")
    assert door.admit("c", 0.0) is None


def test_who_comes_too_fast_waits_and_does_not_use_up_what_the_others_may() -> None:
    door = ConnectionLimiter(ConnectionLimits(1000, 8, 1000, 5))
    turned = [door.admit("a", 0.0) for _ in range(500)]
    assert turned.count(None) == 10
    assert {one.why for one in turned if one} == {"address_too_fast"}
    assert [door.admit("b", 0.0) for _ in range(7)].count(None) == 6
    last = door.admit("c", 0.0)
    assert last is not None
    assert (last.why, last.by_address) == ("too_fast", False)
    assert door.admit("c", last.seconds + 1e-6) is None


def test_handshakes_of_a_moment_are_few_however_many_a_second_may_be() -> None:
    door = ConnectionLimiter(ConnectionLimits(1000, 800, 1000, 800))
    assert door.crowded(0.0) is None
    assert [door.admit(f"a{one}", 0.0) for one in range(100)].count(None) == AT_ONCE
    crowded = door.crowded(0.0)
    assert crowded is not None
    assert crowded == door.admit("c", 0.0)
    assert door.crowded(crowded.seconds + 1e-6) is None


def test_the_third_strike_within_ten_minutes_is_once_too_often() -> None:
    door = ConnectionLimiter(HOUSE)
    assert [door.strike("a", second) for second in (0.0, 10.0, 20.0)] == [False, False, True]
    assert not door.strike("b", 20.0)
    assert not door.strike("a", STRIKES_WITHIN / STRIKES + 1)


class Crowd(RuleBasedStateMachine):
    """What is remembered is bounded, and who is connected is never forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.door, self.now, self.inside = ConnectionLimiter(HOUSE), 0.0, list[str]()
        self.door._room = ROOM

    @rule(number=st.integers(0, 30), step=st.sampled_from([0.0, 0.01, 60.0]))
    def come(self, number: int, step: float) -> None:
        self.now += step
        if self.door.admit(f"a{number}", self.now) is None:
            self.inside.append(f"a{number}")

    @rule(number=st.integers(0, 30))
    def strike(self, number: int) -> None:
        self.door.strike(f"a{number}", self.now)

    @rule(place=st.integers(0, 5))
    def leave(self, place: int) -> None:
        if place < len(self.inside):
            self.door.leave(self.inside.pop(place))

    @invariant()
    def bounds_hold(self) -> None:
        door, inside = self.door, self.inside
        assert door.connected == len(inside) <= HOUSE.connections
        assert len(door._known) <= ROOM
        for one in set(inside):
            assert door._known[one].connected == inside.count(one) <= HOUSE.address_connections


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.200.3", "fd00::7"])
def test_a_proxy_of_ours_is_believed(peer: str) -> None:
    assert client_address(peer, "203.0.113.9, 198.51.100.7", PROXIES) == "198.51.100.7"


@pytest.mark.parametrize("peer", ["127.0.0.2", "10.2.0.1", "fe80::1", "", "unknown"])
def test_nobody_else_is(peer: str) -> None:
    assert client_address(peer, "198.51.100.7", PROXIES) == peer


@pytest.mark.parametrize("told", ["10.1.0.0/33", "10.1.2.3/16", "localhost", ""])
def test_what_is_no_network_is_no_proxy(told: str) -> None:
    with pytest.raises(ValueError):
        TrustedProxies([told])
