"""Who may come in: bounds on connections of this gateway and of one address, and on how fast they come."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Literal, NamedTuple

from livebalance.gateway.limits.rate import RateLimiter

Address = str  # of a client, as text


class TrustedProxies(Container[Address]):
    """Who stands before us: addresses, and networks as 10.0.0.0/8. Raises ValueError for what is neither."""

    def __init__(self, told: Iterable[str]) -> None:
        self._networks = [ip_network(one) for one in told]

    def __contains__(self, peer: object) -> bool:
        try:
            where = ip_address(str(peer))
        except ValueError:
            return False
        return any(where in network for network in self._networks)


def client_address(peer: Address, forwarded: str, proxies: Container[Address]) -> Address:
    """Of a client: who is connected, or whom a proxy of ours put last into X-Forwarded-For.

    Whatever is no address is not believed either: it would be counted, and told in the log.
    """
    told = forwarded.rpartition(",")[2].strip()
    if peer not in proxies or not told:
        return peer
    try:
        return str(ip_address(told))
    except ValueError:
        return peer


SPARE = 10_000  # addresses that are remembered though nobody is connected from them
STRIKES = 3  # a client that was closed for its rate this often, in
STRIKES_WITHIN = 600.0  # seconds, is not asked to come back


AT_ONCE = 64  # handshakes of a gateway, whatever it bears in a second: those it has wait while it does them


class ConnectionLimits(NamedTuple):
    """The bounds: how many may be here, and new ones a second; of an address twice as many at once."""

    connections: int
    per_second: float
    address_connections: int
    address_per_second: float


class Rejection(NamedTuple):
    """A client that may not come in now."""

    why: Literal["full", "too_fast", "address_full", "address_too_fast"]
    seconds: float  # until it is worth another try

    @property
    def by_address(self) -> bool:
        """It is this address that is too many, not all of them."""
        return self.why.startswith("address")


@dataclass(slots=True)
class _Known:
    coming: RateLimiter
    strikes: RateLimiter = field(default_factory=lambda: RateLimiter(STRIKES / STRIKES_WITHIN, STRIKES - 1))
    connected: int = 0

    def forgotten(self, now: float) -> bool:
        return not self.connected and self.coming.is_full(now) and self.strikes.is_full(now)


class ConnectionLimiter:
    def __init__(self, house: ConnectionLimits) -> None:
        self._house = house
        self._coming = RateLimiter(house.per_second, min(AT_ONCE, 2 * house.per_second))
        self._known: dict[Address, _Known] = {}
        self._room = house.connections + SPARE  # addresses
        self.connected = 0

    def admit(self, client_address: Address, now: float) -> Rejection | None:
        """None: it is in, and counts until it leaves."""
        known = self._of(client_address, now)
        turned = self._turned(known, now)
        if turned is None:
            known.connected += 1
            self.connected += 1
        return turned

    def crowded(self, now: float) -> Rejection | None:
        """Whoever it were could not come in: that is cheaper to say before anything is known of it."""
        if self.connected >= self._house.connections:
            return Rejection("full", 10.0)
        if wait := self._coming.wait(now):
            return Rejection("too_fast", wait)
        return None

    def _turned(self, known: _Known, now: float) -> Rejection | None:
        """An address that is turned away does not use up what the others may."""
        if known.connected >= self._house.address_connections:
            return Rejection("address_full", 10.0)
        if crowded := self.crowded(now):
            return crowded
        if wait := known.coming.take(now):
            return Rejection("address_too_fast", wait)
        self._coming.owe(now, 1)
        return None

    def leave(self, client_address: Address) -> None:
        self._known[client_address].connected -= 1
        self.connected -= 1

    def strike(self, client_address: Address, now: float) -> bool:
        """It was too much, and is asked to leave. Whether that was once too often."""
        return self._of(client_address, now).strikes.take(now) > 0

    def _of(self, client_address: Address, now: float) -> _Known:
        known = self._known.get(client_address)
        if known is None:
            if len(self._known) >= self._room:
                self._forget(now)
            per_second = self._house.address_per_second
            known = self._known[client_address] = _Known(RateLimiter(per_second, 2 * per_second))
        return known

    def _forget(self, now: float) -> None:
        """Those of whom nothing counts any more; of a flood of addresses, all who are not connected."""
        kept = {one: known for one, known in self._known.items() if not known.forgotten(now)}
        if len(kept) >= self._room:
            kept = {one: known for one, known in kept.items() if known.connected}
        self._known = kept
