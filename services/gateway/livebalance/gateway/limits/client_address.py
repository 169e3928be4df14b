"""The address of a client, which proxies may name, and the network that limits count it by."""

import re
from collections.abc import Container, Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

Address = str

UNNAMED: Address = "unnamed"  # a client that a trusted proxy does not name: it has no limits of its own
CLIENT_PREFIX = 64  # bits of an IPv6 address; a client chooses the others (RFC 4291 §2.5.4, RFC 8981)

# As proxies write it: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FORWARDED = re.compile(
    rf"(?P<v4>{_OCTET}(?:\.{_OCTET}){{3}})(?::[0-9]{{1,5}})?"
    r"|\[(?P<bracketed>[0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|(?P<v6>[0-9A-Fa-f:.]+)",
    re.ASCII,
)


class TrustedProxies(Container[Address]):
    """Addresses of the proxies in front of this gateway."""

    def __init__(self, networks: Iterable[str]) -> None:
        """Creates the set of `networks`: addresses, and networks such as 10.0.0.0/8.

        Raises:
            ValueError: An entry is neither.
        """
        self._networks = [ip_network(network) for network in networks]
        self._trusts = lru_cache(maxsize=1024)(self._find)

    def __contains__(self, peer: object) -> bool:
        return self._trusts(str(peer))

    def _find(self, peer: Address) -> bool:
        try:
            address = ip_address(_mapped(peer))
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def client_address(peer: Address, forwarded: str, proxies: Container[Address]) -> Address:
    """Returns the peer's address, or that of the client for which it forwards if it is a trusted proxy.

    Each proxy appends to X-Forwarded-For the address from which it was connected. The walk goes from the
    right past trusted proxies, so a client cannot choose its address by sending the header. If all addresses
    are those of trusted proxies, the first of them is the client. Returns `UNNAMED` if a trusted proxy
    appended nothing, or no address.
    """
    if peer not in proxies:
        return peer
    address = UNNAMED
    while forwarded:
        forwarded, _, entry = forwarded.rpartition(",")
        address = _parse(entry.strip(" \t"))
        if address not in proxies:
            break
    return address


def _parse(entry: str) -> Address:
    """Returns the address in an entry of X-Forwarded-For without its port, or `UNNAMED`."""
    match = _FORWARDED.fullmatch(entry)
    if match is None:
        return UNNAMED
    if match["v4"]:
        return match["v4"]
    try:
        return _mapped(str(ip_address(match["bracketed"] or match["v6"])))
    except ValueError:
        return UNNAMED


@lru_cache(maxsize=4096)
def client_network(address: Address) -> Address:
    """Returns what limits count a client by: its IPv4 address, or the first 64 bits of its IPv6 address."""
    try:
        parsed = ip_address(_mapped(address))
    except ValueError:
        return address
    return str(ip_network((int(parsed), CLIENT_PREFIX), strict=False)) if parsed.version == 6 else str(parsed)


def _mapped(address: Address) -> Address:
    """Returns the IPv4 address in an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2), and others as they are."""
    if not address.startswith("::"):
        return address
    mapped = IPv6Address(address).ipv4_mapped
    return str(mapped) if mapped else address
