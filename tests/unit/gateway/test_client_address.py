import pytest

from livebalance.gateway.limits.client_address import TrustedProxies, client_address

PROXIES = TrustedProxies(["127.0.0.1", "10.1.0.0/16", "fd00::/8"])


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.200.3", "fd00::7"])
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
        ("", "127.0.0.1"),
        ("1.2.3.4, nobody", "127.0.0.1"),
        ("1.2.3.4\tforged", "127.0.0.1"),
    ],
)
def test_client_address_from_a_forwarded_header_is_normalized_or_ignored(
    forwarded: str, expected: str
) -> None:
    assert client_address("127.0.0.1", forwarded, PROXIES) == expected


@pytest.mark.parametrize("network", ["10.1.0.0/33", "10.1.2.3/16", "localhost", ""])
def test_trusted_proxies_with_an_invalid_network_raise(network: str) -> None:
    with pytest.raises(ValueError):
        TrustedProxies([network])
