import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def framed(*headers: tuple[bytes, bytes], version: str = "1.1", method: bytes = b"GET") -> str | None:
    """Returns the reason for which a request with these headers is refused, or None."""
    request = RequestHead(method, b"/", version, [(b"host", b"here"), *headers], False, "")
    result = refusal(request, RequestRules())
    return result and result.reason


def test_request_with_a_body_is_refused_by_its_method_or_its_body() -> None:
    for header in ((b"content-length", b"1"), (b"transfer-encoding", b"Chunked")):
        assert framed(header) == framed(header, method=b"HEAD") == "body"
        assert framed(header, method=b"POST") == framed(header, method=b"DELETE") == "method"


@given(
    st.lists(st.sampled_from([b"0", b"00", b"7", b"+7", b"-1", b"0x7", b"7, 7", b"", b"\xb2"]), max_size=3),
    st.lists(st.sampled_from([b"chunked", b"identity", b"gzip, chunked", b"chunked, gzip", b""]), max_size=2),
    st.sampled_from(["0.9", "1.0", "1.1", "2.0"]),
)
def test_request_is_served_only_if_it_certainly_ends_with_its_head(
    lengths: list[bytes], codings: list[bytes], version: str
) -> None:
    headers = [(b"content-length", length) for length in lengths]
    headers += [(b"transfer-encoding", coding) for coding in codings]
    if framed(*headers, version=version) is None:
        assert not codings
        assert lengths in ([], [b"0"], [b"00"])
        assert version in ("1.0", "1.1")
