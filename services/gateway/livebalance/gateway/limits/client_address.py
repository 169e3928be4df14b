"""The address of a client, which a trusted proxy may name in X-Forwarded-For."""

from collections.abc import Container, Iterable
from ipaddress import ip_address, ip_network

Address = str


class TrustedProxies(Container[Address]):
    """Addresses of the proxies in front of this gateway."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Creates the set of `networks`: addresses, and networks such as 10.0.0.0/8.

        Raises:
            ValueError: An entry is neither.
        """
        self._networks = [ip_network(network) for network in networks]

    def __contains__(self, peer: object) -> bool:
        try:
            address = ip_address(str(peer))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def client_address(peer: Address, forwarded: str, proxies: Container[Address]) -> Address:
    """Returns the address that a trusted proxy put last into X-Forwarded-For, or else the peer's address.

    A value that is not an address is ignored: it would be counted by the limits, and written to the log.
    """
    named = forwarded.rpartition(",")[2].strip()
    if peer not in proxies or not named:
        return peer
    try:
        return str(ip_address(named))
    except ValueError:
        return peer
