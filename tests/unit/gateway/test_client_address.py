from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.limits.client_address import (
    UNNAMED,
    TrustedProxies,
    client_address,
    client_network,
)

PROXIES = TrustedProxies(["127.0.0.1", "10.1.0.0/16", "fd00::/8"])

ADDRESSES = st.ip_addresses()
CLIENTS = ADDRESSES.filter(lambda address: str(address) not in PROXIES)
TRUSTED = st.one_of(
    st.ip_addresses(network="10.1.0.0/16"),
    st.ip_addresses(network="fd00::/8"),
    st.just(ip_address("127.0.0.1")),
)
SENT = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)


def written(address: IPv4Address | IPv6Address, form: int) -> str:
    """Returns an entry of X-Forwarded-For in one of the forms that proxies write."""
    if address.version == 4:
        return [str(address), f"{address}:4711", f" {address} "][form]
    return [str(address), f"[{address}]:4711", f"[{address.exploded.upper()}]"][form]


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.200.3", "fd00::7", "::ffff:10.1.0.1"])
def test_client_address_behind_a_trusted_proxy_is_the_last_forwarded(peer: str) -> None:
    assert client_address(peer, "203.0.113.9, 198.51.100.7", PROXIES) == "198.51.100.7"


@pytest.mark.parametrize("peer", ["127.0.0.2", "10.2.0.1", "fe80::1", "", "unknown"])
def test_client_address_behind_another_peer_is_the_peer(peer: str) -> None:
    assert client_address(peer, "198.51.100.7", PROXIES) == peer


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("1.2.3.4, 5.6.7.8", "5.6.7.8"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("1.2.3.4, 5.6.7.8, 10.1.0.9, fd00::1", "5.6.7.8"),
        ("5.6.7.8:4711, [fd00::1]:443, 10.1.0.9:80", "5.6.7.8"),
        ("[2001:db8::1]:4711, 127.0.0.1", "2001:db8::1"),
        ("::ffff:5.6.7.8", "5.6.7.8"),
        ("10.1.0.9, 127.0.0.1", "10.1.0.9"),  # a proxy that is a client itself
        ("127.0.0.1", "127.0.0.1"),
        ("", UNNAMED),
        ("1.2.3.4, nobody", UNNAMED),
        ("unknown, 10.1.0.9", UNNAMED),
        ("1.2.3.4,", UNNAMED),
        ("1.2.3.4\tforged", UNNAMED),
        ("\t1.2.3.4 ", "1.2.3.4"),
        ("1.2.3.4\x0b", UNNAMED),  # only spaces and tabs surround an entry (RFC 9110 §5.6.3)
        ("X1.2.3.4", UNNAMED),
        ("1.2.3.4:", UNNAMED),
        ("[1.2.3.4", UNNAMED),
        ("fe80::1%eth0", UNNAMED),
        ("unix:", UNNAMED),
        ("1.2.3", UNNAMED),
    ],
)
def test_client_address_is_the_first_untrusted_from_the_right(forwarded: str, expected: str) -> None:
    assert client_address("127.0.0.1", forwarded, PROXIES) == expected


@given(st.data(), SENT, CLIENTS, st.lists(TRUSTED, max_size=3))
def test_client_cannot_choose_its_address(
    data: st.DataObject,
    sent: str,
    client: IPv4Address | IPv6Address,
    proxies: list[IPv4Address | IPv6Address],
) -> None:
    """Whatever a client sends, and in whatever form proxies append addresses, its own address is taken."""
    chain = [written(address, data.draw(st.integers(0, 2))) for address in (client, *proxies)]
    mapped = getattr(client, "ipv4_mapped", None)
    assert client_address("127.0.0.1", ",".join([sent, *chain]), PROXIES) == str(mapped or client)


@given(SENT, TRUSTED)
def test_proxy_stands_for_its_clients_only_if_it_is_named_as_one(
    sent: str, peer: IPv4Address | IPv6Address
) -> None:
    address = client_address(str(peer), sent, PROXIES)
    if address != UNNAMED:
        assert str(ip_address(address)) == address
        assert sent.strip()


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1))
def test_ipv6_clients_are_counted_by_their_first_64_bits(number: int, other: int) -> None:
    same = (number >> 64 << 64) | other
    network = client_network(str(IPv6Address(number)))
    if number >> 32 != 0xFFFF and same >> 32 != 0xFFFF:  # not an IPv4 address in IPv6
        assert network == client_network(str(IPv6Address(same)))
        assert ip_network(network).prefixlen == 64
        assert IPv6Address(number) in ip_network(network)


@given(st.ip_addresses(v=4))
def test_ipv4_clients_are_counted_by_their_address(address: IPv4Address) -> None:
    assert client_network(str(address)) == client_network(f"::ffff:{address}") == str(address)


@pytest.mark.parametrize("network", ["10.1.0.0/33", "10.1.2.3/16", "localhost", ""])
def test_trusted_proxies_with_an_invalid_network_raise(network: str) -> None:
    with pytest.raises(ValueError):
        TrustedProxies([network])


def test_trusted_proxies_are_those_in_the_networks_and_peers_are_remembered_up_to_a_maximum() -> None:
    proxies = TrustedProxies(["10.1.0.0/16"])
    assert client_address("10.1.0.1", "1.2.3.4", proxies) == "1.2.3.4"
    assert client_address("10.2.0.1", "1.2.3.4", proxies) == "10.2.0.1"
    for number in range(2000):
        assert str(IPv6Address(number)) not in proxies
    assert proxies._trusts.cache_info().currsize == 1024


octets = st.integers(0, 299).map(str) | st.text("0123456789", max_size=4)


@given(st.lists(octets, min_size=3, max_size=5).map(".".join))
def test_forwarded_ipv4_address_is_what_the_standard_library_reads(text: str) -> None:
    try:
        expected = str(ip_address(text))
    except ValueError:
        expected = UNNAMED
    assert client_address("127.0.0.1", text, TrustedProxies(["127.0.0.1"])) == expected
