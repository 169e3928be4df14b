import pytest

from livebalance.gateway.server.request_head import RequestHead, RequestRules, refusal

PROXIES = frozenset({"10.0.0.1"})


def head(*headers: tuple[bytes, bytes], target: bytes = b"/ws", peer: str = "10.0.0.1") -> RequestHead:
    return RequestHead(b"GET", target, "1.1", [(b"host", b"here"), *headers], True, peer)


def test_request_without_tls_from_a_trusted_proxy_is_refused() -> None:
    rules = RequestRules(require_tls=True, trusted_proxies=PROXIES)
    https = (b"x-forwarded-proto", b"https")
    assert refusal(head(https), rules) is None
    assert refusal(head((b"x-forwarded-proto", b"http, wss")), rules) is None
    for insecure in (head(), head(https, peer="10.0.0.2"), head((b"x-forwarded-proto", b"https, http"))):
        result = refusal(insecure, rules)
        assert result
        assert result.reason == "not_secure"


@pytest.mark.parametrize(
    "host", [b"[::1]", b"[::1]:8000", b"a_b.c-d.example:443", b"HERE", b"127.0.0.1:8000"]
)
def test_request_with_a_valid_host_is_refused_only_if_the_host_is_not_allowed(host: bytes) -> None:
    request = RequestHead(b"GET", b"/", "1.1", [(b"host", host)], False, "")
    assert refusal(request, RequestRules()) is None
    assert refusal(request, RequestRules(allowed_hosts=frozenset({host.decode().lower()}))) is None
    assert refusal(request, RequestRules(allowed_hosts=frozenset({"other"}))) is not None


@pytest.mark.parametrize(
    "host", [b"", b"a b", b"a/b", b"a@b", b"a:b", b"[::1", b"a\\b", b"a?b", b"a#b", b"a:123456"]
)
def test_request_with_an_invalid_host_is_refused(host: bytes) -> None:
    assert refusal(RequestHead(b"GET", b"/", "1.1", [(b"host", host)], False, ""), RequestRules()) is not None
