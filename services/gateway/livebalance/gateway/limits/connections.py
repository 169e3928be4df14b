"""Limits of connections, and of new connections per second, for a gateway and for each address."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from livebalance.gateway.limits.client_address import UNNAMED, Address, client_network
from livebalance.gateway.limits.rate import RateLimiter

MAX_IDLE_ADDRESSES = 10_000  # remembered beyond those that can be connected
MAX_STRIKES = 3  # closes of a client for its rate, within
STRIKE_WINDOW = 600.0  # seconds, before the client is closed for good
MAX_BURST = 64  # handshakes at once, whatever the rate: connected clients wait while these run
RETRY_AFTER_FULL = 10.0  # seconds


class ConnectionLimits(NamedTuple):
    """Limits of a gateway and of each client address. Rates are new connections per second, on average."""

    max_connections: int
    rate: float
    max_connections_per_address: int
    rate_per_address: float  # twice as many at once


class Rejection(NamedTuple):
    """Why a connection is rejected now, and the seconds until a retry can succeed."""

    reason: Literal["full", "too_fast", "address_full", "address_too_fast"]
    retry_after: float

    @property
    def is_of_address(self) -> bool:
        """Whether the limit is that of the client's address, and not that of the gateway."""
        return self.reason.startswith("address")


@dataclass(slots=True)
class _AddressState:
    rate: RateLimiter
    strikes: RateLimiter = field(
        default_factory=lambda: RateLimiter(MAX_STRIKES / STRIKE_WINDOW, MAX_STRIKES - 1)
    )
    connections: int = 0

    def is_idle(self, now: float) -> bool:
        return not self.connections and self.rate.is_full(now) and self.strikes.is_full(now)


class ConnectionLimiter:
    """Admits connections within the limits. Times are monotonic seconds."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._rate = RateLimiter(limits.rate, min(MAX_BURST, 2 * limits.rate))
        self._addresses: dict[Address, _AddressState] = {}
        self._max_addresses = limits.max_connections + MAX_IDLE_ADDRESSES
        self.sessions = 0

    def hold(self, address: Address, now: float, *, paced: bool) -> Rejection | None:
        """Counts a connection, or a proxy's request, until `release`; or returns why it is rejected.

        `paced`: it also counts in the address' rate of new connections.
        """
        if address == UNNAMED:
            return None
        state = self._state(address, now)
        if state.connections >= self._limits.max_connections_per_address:
            return Rejection("address_full", RETRY_AFTER_FULL)
        if paced and (wait := state.rate.try_acquire(now)):
            return Rejection("address_too_fast", wait)
        state.connections += 1
        return None

    def release(self, address: Address) -> None:
        """Removes a connection or request that is held for this address."""
        if address != UNNAMED:
            self._addresses[client_network(address)].connections -= 1

    def open(self, address: Address, now: float, *, paced: bool) -> Rejection | None:
        """Counts a session, whose place is held, until `close`; or returns why it is rejected.

        `paced`: it also counts in the address' rate, because its connection did not. A rejected address does
        not use up the gateway's rate.
        """
        if overload := self.overload(now):
            return overload
        if paced and address != UNNAMED:
            rate = self._addresses[client_network(address)].rate
            if wait := rate.try_acquire(now):
                return Rejection("address_too_fast", wait)
        self._rate.consume(now, 1)
        self.sessions += 1
        return None

    def close(self) -> None:
        """Removes a session."""
        self.sessions -= 1

    def overload(self, now: float) -> Rejection | None:
        """Returns the rejection that applies to the session of any client now.

        Checked before a request is parsed, because that is cheaper.
        """
        if self.sessions >= self._limits.max_connections:
            return Rejection("full", RETRY_AFTER_FULL)
        if wait := self._rate.wait(now):
            return Rejection("too_fast", wait)
        return None

    def strike(self, address: Address, now: float) -> bool:
        """Counts a close for an exceeded rate. Returns whether the address has had too many of them."""
        return address != UNNAMED and self._state(address, now).strikes.try_acquire(now) > 0

    def _state(self, address: Address, now: float) -> _AddressState:
        network = client_network(address)
        state = self._addresses.get(network)
        if state is None:
            if len(self._addresses) >= self._max_addresses:
                self._forget_addresses(now)
            rate = self._limits.rate_per_address
            state = self._addresses[network] = _AddressState(RateLimiter(rate, 2 * rate))
        return state

    def _forget_addresses(self, now: float) -> None:
        """Forgets the idle addresses; if that is not enough, all that are not connected."""
        kept = {address: state for address, state in self._addresses.items() if not state.is_idle(now)}
        if len(kept) >= self._max_addresses:
            kept = {address: state for address, state in kept.items() if state.connections}
        self._addresses = kept
