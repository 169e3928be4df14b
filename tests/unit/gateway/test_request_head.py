from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from livebalance.gateway.limits.connections import Rejection
from livebalance.gateway.server.refusal import Refusal, first_refusal, refuse_not_ready, refuse_over_limit
from livebalance.gateway.server.request_head import (
    BAD_REQUEST,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    MAX_RANGES,
    TOO_LARGE,
    TOO_LONG,
    HeadSize,
    RequestHead,
    RequestRules,
    by_name,
    refusal,
)

PROXIES = frozenset({"10.0.0.1"})


def head(*headers: tuple[bytes, bytes], target: bytes = b"/ws", peer: str = "10.0.0.1") -> RequestHead:
    return RequestHead(b"GET", target, "1.1", by_name([(b"host", b"here"), *headers]), True, peer)


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
    request = RequestHead(b"GET", b"/", "1.1", by_name([(b"host", host)]), False, "")
    assert refusal(request, RequestRules()) is None
    assert refusal(request, RequestRules(allowed_hosts=frozenset({host.decode().lower()}))) is None
    assert refusal(request, RequestRules(allowed_hosts=frozenset({"other"}))) is not None


@pytest.mark.parametrize(
    "host", [b"", b"a b", b"a/b", b"a@b", b"a:b", b"[::1", b"a\\b", b"a?b", b"a#b", b"a:123456"]
)
def test_request_with_an_invalid_host_is_refused(host: bytes) -> None:
    assert (
        refusal(RequestHead(b"GET", b"/", "1.1", by_name([(b"host", host)]), False, ""), RequestRules())
        is not None
    )


def framed(*headers: tuple[bytes, bytes], version: str = "1.1", method: bytes = b"GET") -> str | None:
    """Returns the reason for which a request with these headers is refused, or None."""
    request = RequestHead(method, b"/", version, by_name([(b"host", b"here"), *headers]), False, "")
    result = refusal(request, RequestRules())
    return result and result.reason


def test_request_with_a_body_is_refused_by_its_method_or_its_body() -> None:
    for nothing in (b"0", b"00"):
        assert (
            framed((b"content-length", nothing))
            is framed((b"content-length", nothing), method=b"POST")
            is None
        )
    for header in ((b"content-length", b"1"), (b"transfer-encoding", b"Chunked")):
        assert framed(header) == framed(header, method=b"HEAD") == "body"
        assert framed(header, method=b"POST") == framed(header, method=b"DELETE") == "method"


@pytest.mark.parametrize(
    ("lengths", "codings", "version"),
    [
        ([b"+7"], [], "1.1"),
        ([b"7, 7"], [], "1.1"),
        ([b"7", b"7"], [], "1.1"),
        ([b"7"], [b"chunked"], "1.1"),
        ([], [b"chunked"], "1.0"),
        ([], [b"gzip, chunked"], "1.1"),
        ([], [b"gzip", b"chunked"], "1.1"),
        ([], [], "2.0"),
    ],
)
def test_request_whose_end_is_uncertain_is_refused_whatever_its_method(
    lengths: list[bytes], codings: list[bytes], version: str
) -> None:
    headers = [(b"content-length", length) for length in lengths]
    headers += [(b"transfer-encoding", coding) for coding in codings]
    assert framed(*headers, version=version, method=b"POST") == "bad_request"


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


def reason(request: RequestHead, rules: RequestRules | None = None) -> str | None:
    result = refusal(request, rules or RequestRules())
    return result and result.reason


def test_connect_and_handshakes_of_http_1_0_are_refused() -> None:
    assert reason(head()._replace(method=b"CONNECT")) == "method"
    assert reason(head()._replace(version="1.0")) == "http_version"
    assert reason(head()._replace(version="1.0", upgrade=False)) is None


def test_request_without_a_host_is_refused_unless_it_is_of_http_1_0_and_every_host_is_allowed() -> None:
    here = RequestRules(allowed_hosts=frozenset({"here"}))
    for version, hosts, rules, expected in (
        ("1.1", 0, RequestRules(), "host"),
        ("1.1", 2, RequestRules(), "host"),
        ("1.0", 0, RequestRules(), None),
        ("1.0", 2, RequestRules(), "host"),
        ("1.0", 0, here, "host"),
        ("1.0", 1, here, None),
    ):
        assert reason(
            RequestHead(b"GET", b"/", version, by_name([(b"host", b"here")] * hosts), False, ""), rules
        ) == (expected)


def test_host_is_allowed_with_any_port_unless_the_rule_names_a_port() -> None:
    for allowed, host, expected in (
        ("here", b"here:8000", None),
        ("here:8000", b"here:8000", None),
        ("here:8000", b"here", "host"),
        ("here:8000", b"here:8001", "host"),
        ("[::1]", b"[::1]:8000", None),
        ("[::1]", b"[::1]", None),
    ):
        rules = RequestRules(allowed_hosts=frozenset({allowed}))
        assert (
            reason(RequestHead(b"GET", b"/", "1.1", by_name([(b"host", host)]), False, ""), rules) == expected
        )


def test_request_for_too_many_ranges_is_refused() -> None:
    most = b"bytes=" + b",".join([b"0-1"] * MAX_RANGES)
    assert reason(head((b"range", most))) is None
    assert reason(head((b"range", most + b",2-3"))) == "ranges"
    assert reason(head((b"range", most), (b"range", b"bytes=0-1,2-3"))) == "ranges"


def test_scheme_that_a_trusted_proxy_names_last_counts() -> None:
    rules = RequestRules(require_tls=True, trusted_proxies=PROXIES)
    name = b"x-forwarded-proto"
    assert reason(head((name, b"http"), (name, b" HTTPS ")), rules) is None
    assert reason(head((name, b"https"), (name, b"http")), rules) == "not_secure"


def test_target_may_arrive_in_parts_up_to_its_bound() -> None:
    size = HeadSize()
    assert size.add_target(MAX_LINE_BYTES - 1) is None
    assert size.add_target(1) is None
    assert size.add_target(1) is TOO_LONG


def test_header_is_refused_beyond_the_bounds_of_its_size_and_of_the_head() -> None:
    assert HeadSize().add_header(MAX_LINE_BYTES) is None
    assert HeadSize().add_header(MAX_LINE_BYTES + 1) is TOO_LARGE
    size = HeadSize()
    assert [size.add_header(1) for _ in range(MAX_HEADERS)] == [None] * MAX_HEADERS
    assert size.add_header(1) is TOO_LARGE
    size = HeadSize()
    for _ in range(2):
        size.add_target(MAX_LINE_BYTES // 2)
    rest = MAX_HEAD_BYTES - MAX_LINE_BYTES
    assert [size.add_header(rest // 4) for _ in range(4)] == [None] * 4
    assert size.add_header(1) is TOO_LARGE


def test_refused_request_is_answered_with_a_problem_and_closed() -> None:
    response = Refusal(HTTPStatus.BAD_REQUEST, "host", "Another host.", {"allow": "GET"}).response()
    head_, _, body = response.partition(b"\r\n\r\n")
    assert head_.decode().split("\r\n") == [
        "HTTP/1.1 400 Bad Request",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "connection: close",
        "allow: GET",
    ]
    problem = json.decode(body)
    assert (problem["status"], problem["code"], problem["detail"]) == (400, "host", "Another host.")


def test_first_refusal_that_applies_is_returned() -> None:
    assert first_refusal((TOO_LONG, False), (TOO_LARGE, True), (BAD_REQUEST, True)) is TOO_LARGE
    assert first_refusal((TOO_LONG, False)) is None


def test_client_of_a_gateway_that_is_not_ready_is_sent_elsewhere() -> None:
    retry = {"retry-after": "5"}
    assert refuse_not_ready("draining") == (503, "draining", "draining", retry)
    assert refuse_not_ready("no recent audit") == (503, "not_ready", "no recent audit", retry)


@pytest.mark.parametrize(
    ("rejection", "status", "retry_after"),
    [
        (Rejection("full", 10.0), 503, "10"),
        (Rejection("too_fast", 0.1), 503, "1"),
        (Rejection("address_full", 1.5), 429, "2"),
        (Rejection("address_too_fast", 2.0), 429, "2"),
    ],
)
def test_rejection_of_a_client_over_a_limit_says_when_to_retry(
    rejection: Rejection, status: int, retry_after: str
) -> None:
    refused = refuse_over_limit(rejection)
    assert (refused.status, refused.reason) == (status, rejection.reason)
    assert refused.headers == {"retry-after": retry_after}
    assert refused.detail.startswith("Too many connections, ")
