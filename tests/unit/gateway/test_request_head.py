import pytest

from livebalance.gateway.limits.connections import client_address
from livebalance.gateway.server.request_head import RequestHead, RequestRules, refusal

PROXIES = frozenset({"10.0.0.1"})


def head(*headers: tuple[bytes, bytes], target: bytes = b"/ws", peer: str = "10.0.0.1") -> RequestHead:
    return RequestHead(b"GET", target, "1.1", [(b"host", b"here"), *headers], True, peer)


def test_only_a_proxy_of_ours_is_believed_that_a_client_came_by_tls() -> None:
    rules = RequestRules(require_tls=True, trusted_proxies=PROXIES)
    by_tls = (b"x-forwarded-proto", b"https")
    assert refusal(head(by_tls), rules) is None
    assert refusal(head((b"x-forwarded-proto", b"http, wss")), rules) is None
    for one in (head(), head(by_tls, peer="10.0.0.2"), head((b"x-forwarded-proto", b"https, http"))):
        refused = refusal(one, rules)
        assert refused
        assert refused.reason == "not_secure"


@pytest.mark.parametrize(
    "host", [b"[::1]", b"[::1]:8000", b"a_b.c-d.example:443", b"HERE", b"127.0.0.1:8000"]
)
def test_a_host_is_a_host(host: bytes) -> None:
    one = RequestHead(b"GET", b"/", "1.1", [(b"host", host)], False, "")
    assert refusal(one, RequestRules()) is None
    assert refusal(one, RequestRules(allowed_hosts=frozenset({host.decode().lower()}))) is None
    assert refusal(one, RequestRules(allowed_hosts=frozenset({"other"}))) is not None


@pytest.mark.parametrize(
    "host", [b"", b"a b", b"a/b", b"a@b", b"a:b", b"[::1", b"a\\b", b"a?b", b"a#b", b"a:123456"]
)
def test_what_is_no_host_is_refused(host: bytes) -> None:
    assert refusal(RequestHead(b"GET", b"/", "1.1", [(b"host", host)], False, ""), RequestRules()) is not None


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("10.0.0.1", "1.2.3.4, 5.6.7.8", "5.6.7.8"),
        ("10.0.0.1", "2001:DB8::0:1", "2001:db8::1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, nobody", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4\tforged", "10.0.0.1"),
        ("10.0.0.2", "5.6.7.8", "10.0.0.2"),
    ],
)
def test_an_address_is_what_a_proxy_of_ours_says(peer: str, forwarded: str, expected: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected
