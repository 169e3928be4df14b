import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from livebalance.gateway.limits.client_address import UNNAMED
from livebalance.gateway.limits.connections import (
    MAX_BURST,
    MAX_IDLE_ADDRESSES,
    MAX_STRIKES,
    STRIKE_WINDOW,
    ConnectionLimiter,
    ConnectionLimits,
    Rejection,
)


def admit(limiter: ConnectionLimiter, address: str, now: float) -> Rejection | None:
    """Admits a session through a proxy, which holds a place of its address, or returns why it is rejected."""
    if rejection := limiter.hold(address, now, paced=False):
        return rejection
    rejection = limiter.open(address, now, paced=True)
    if rejection:
        limiter.release(address)
    return rejection


def leave(limiter: ConnectionLimiter, address: str) -> None:
    limiter.close()
    limiter.release(address)


LIMITS = ConnectionLimits(max_connections=6, rate=50, max_connections_per_address=3, rate_per_address=10)
MAX_ADDRESSES = 10


def test_limiter_at_each_maximum_rejects_with_its_reason() -> None:
    limiter = ConnectionLimiter(LIMITS)
    results = [admit(limiter, "a", 0.0) for _ in range(4)]
    assert results == [None] * 3 + [Rejection("address_full", 10.0)]
    assert [admit(limiter, "b", 0.0) for _ in range(3)] == [None] * 3
    assert admit(limiter, "c", 0.0) == Rejection("full", 10.0)
    leave(limiter, "a")
    assert admit(limiter, "c", 0.0) is None


def test_address_over_its_rate_does_not_use_up_the_rate_of_the_gateway() -> None:
    limiter = ConnectionLimiter(ConnectionLimits(1000, 8, 1000, 5))
    results = [admit(limiter, "a", 0.0) for _ in range(500)]
    assert results.count(None) == 10
    assert {rejection.reason for rejection in results if rejection} == {"address_too_fast"}
    assert [admit(limiter, "b", 0.0) for _ in range(7)].count(None) == 6
    rejection = admit(limiter, "c", 0.0)
    assert rejection is not None
    assert (rejection.reason, rejection.is_of_address) == ("too_fast", False)
    assert admit(limiter, "c", rejection.retry_after + 1e-6) is None


def test_handshakes_at_once_are_limited_whatever_the_rate() -> None:
    limiter = ConnectionLimiter(ConnectionLimits(1000, 800, 1000, 800))
    assert limiter.overload(0.0) is None
    assert [admit(limiter, f"a{number}", 0.0) for number in range(100)].count(None) == MAX_BURST
    overload = limiter.overload(0.0)
    assert overload is not None
    assert overload == admit(limiter, "c", 0.0)
    assert limiter.overload(overload.retry_after + 1e-6) is None


def test_third_strike_of_an_address_within_ten_minutes_is_too_many() -> None:
    limiter = ConnectionLimiter(LIMITS)
    assert [limiter.strike("a", second) for second in (0.0, 10.0, 20.0)] == [False, False, True]
    assert not limiter.strike("b", 20.0)
    assert [limiter.strike("c", second) for second in (0.0, 0.0, 199.5)] == [False, False, True]
    assert not limiter.strike("a", STRIKE_WINDOW / MAX_STRIKES + 1)


def test_address_over_its_rate_gets_the_wait_until_a_retry() -> None:
    limiter = ConnectionLimiter(ConnectionLimits(1000, 100, 1000, 5))
    rejection = [admit(limiter, "a", 0.0) for _ in range(11)][-1]
    assert rejection is not None
    assert (rejection.reason, rejection.is_of_address) == ("address_too_fast", True)
    assert rejection.retry_after == pytest.approx(0.2)


def test_limiter_remembers_idle_addresses_beyond_those_that_can_be_connected() -> None:
    assert ConnectionLimiter(LIMITS)._max_addresses == LIMITS.max_connections + MAX_IDLE_ADDRESSES


def test_idle_addresses_are_forgotten_only_at_the_maximum_and_before_others() -> None:
    limiter = ConnectionLimiter(LIMITS)
    limiter._max_addresses = 3
    admit(limiter, "connected", 0.0)
    admit(limiter, "idle", 0.0)
    leave(limiter, "idle")
    limiter.strike("striking", 0.0)
    assert set(limiter._addresses) == {"connected", "idle", "striking"}
    admit(limiter, "new", 100.0)  # a strike is forgotten after 200 s
    assert set(limiter._addresses) == {"connected", "striking", "new"}
    leave(limiter, "new")
    admit(limiter, "newer", 100.0)
    assert set(limiter._addresses) == {"connected", "newer"}


def test_released_connection_is_subtracted() -> None:
    limiter = ConnectionLimiter(LIMITS)
    for _ in range(3):
        admit(limiter, "a", 0.0)
    leave(limiter, "a")
    assert (limiter._addresses["a"].connections, limiter.sessions) == (2, 2)
    assert admit(limiter, "a", 0.0) is None
    assert admit(limiter, "a", 0.0) == Rejection("address_full", 10.0)


def test_connections_and_requests_of_an_address_count_together_without_using_up_the_gateway() -> None:
    limiter = ConnectionLimiter(LIMITS)
    assert limiter.hold("a", 0.0, paced=True) is None  # a connection of its own
    assert limiter.hold("a", 0.0, paced=False) is None  # a request that a proxy forwards
    assert admit(limiter, "a", 0.0) is None
    full = Rejection("address_full", 10.0)
    assert limiter.hold("a", 0.0, paced=True) == limiter.hold("a", 0.0, paced=False) == full
    assert admit(limiter, "a", 0.0) == full
    assert limiter.sessions == 1
    limiter.release("a")
    assert limiter.hold("a", 0.0, paced=False) is None


def test_connections_of_an_address_are_paced_and_forwarded_requests_are_not() -> None:
    limiter = ConnectionLimiter(ConnectionLimits(1000, 1000, 1000, 5))
    assert [limiter.hold("a", 0.0, paced=True) for _ in range(10)] == [None] * 10
    rejection = limiter.hold("a", 0.0, paced=True)
    assert rejection is not None
    assert rejection.reason == "address_too_fast"
    assert rejection.retry_after == pytest.approx(0.2)
    assert [limiter.hold("a", 0.0, paced=False) for _ in range(500)] == [None] * 500
    assert limiter.open("a", 0.0, paced=False) is None  # its connection was paced


def test_ipv6_addresses_of_a_network_have_the_limits_of_one_client() -> None:
    limiter = ConnectionLimiter(LIMITS)
    results = [admit(limiter, f"2001:db8::{number}", 0.0) for number in range(4)]
    assert [rejection and rejection.reason for rejection in results] == [None] * 3 + ["address_full"]
    assert admit(limiter, "2001:db8:0:1::", 0.0) is None


def test_client_without_a_name_has_only_the_limits_of_the_gateway() -> None:
    limiter = ConnectionLimiter(LIMITS)
    assert [admit(limiter, UNNAMED, 0.0) for _ in range(6)] == [None] * 6
    assert admit(limiter, UNNAMED, 0.0) == Rejection("full", 10.0)
    assert not any(limiter.strike(UNNAMED, 0.0) for _ in range(10))
    for _ in range(6):
        leave(limiter, UNNAMED)
    assert (limiter.sessions, limiter._addresses) == (0, {})


class Addresses(RuleBasedStateMachine):
    """The limiter remembers a bounded number of addresses, and never forgets a connected address."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter, self.now, self.connected = ConnectionLimiter(LIMITS), 0.0, list[str]()
        self.limiter._max_addresses = MAX_ADDRESSES

    @rule(number=st.integers(0, 30), seconds=st.sampled_from([0.0, 0.01, 60.0]))
    def connect(self, number: int, seconds: float) -> None:
        self.now += seconds
        if admit(self.limiter, f"a{number}", self.now) is None:
            self.connected.append(f"a{number}")

    @rule(number=st.integers(0, 30))
    def strike(self, number: int) -> None:
        self.limiter.strike(f"a{number}", self.now)

    @rule(index=st.integers(0, 5))
    def disconnect(self, index: int) -> None:
        if index < len(self.connected):
            leave(self.limiter, self.connected.pop(index))

    @invariant()
    def bounds_hold(self) -> None:
        limiter, connected = self.limiter, self.connected
        assert limiter.sessions == len(connected) <= LIMITS.max_connections
        assert len(limiter._addresses) <= MAX_ADDRESSES
        for address in set(connected):
            connections = limiter._addresses[address].connections
            assert connections == connected.count(address) <= LIMITS.max_connections_per_address


TestAddresses = Addresses.TestCase
TestAddresses.settings = settings(deadline=None)
