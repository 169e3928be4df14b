"""Checks of a request's head: its size, host, TLS and ranges. Pure: no I/O."""

import re
from collections.abc import Container, Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.server.refusal import Refusal, first_refusal

MAX_LINE_BYTES = 8 * 1024  # of a header, or of the target
MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_RANGES = 8  # parts of a file per request; a part costs more to send than to request

# RFC 9110 §7.2: a name or an address, and optionally a port.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)

BAD_REQUEST = Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "This is not an HTTP/1.1 request.")
TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    f"Send at most {MAX_HEADERS} headers, {MAX_LINE_BYTES} bytes each and {MAX_HEAD_BYTES} bytes in all.",
)
TOO_LONG = Refusal(
    HTTPStatus.REQUEST_URI_TOO_LONG,
    "target_too_long",
    f"The URL is too long: send at most {MAX_LINE_BYTES} bytes.",
)
PIPELINED = Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "Read responses before you send more requests.")
BAD_METHOD = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method", "Use GET or HEAD.", {"allow": "GET, HEAD"})
_BODY = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body", "Send no body with this request.")
_BAD_HOST = Refusal(HTTPStatus.BAD_REQUEST, "host", "This server does not serve this host name.")
_BAD_HTTP_VERSION = Refusal(HTTPStatus.BAD_REQUEST, "http_version", "A WebSocket handshake needs HTTP/1.1.")
_NOT_SECURE = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    "not_secure",
    "Connect with TLS (https or wss).",
    {"upgrade": "TLS/1.2, HTTP/1.1", "connection": "Upgrade, close"},
)
_TOO_MANY_RANGES = Refusal(
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "ranges", f"Request at most {MAX_RANGES} ranges at once."
)


class RequestRules(NamedTuple):
    """What a request's head must fulfil."""

    allowed_hosts: frozenset[str] = frozenset()  # in lower case, with or without a port; empty: any
    require_tls: bool = False
    trusted_proxies: Container[Address] = frozenset()  # X-Forwarded-* headers of other peers are ignored


class RequestHead(NamedTuple):
    """The parsed head of a request."""

    method: bytes
    target: bytes
    version: str  # for example "1.1"
    headers: Mapping[bytes, list[bytes]]  # from `by_name`
    upgrade: bool  # to a WebSocket
    peer: Address  # the other end of the TCP connection: the client or a proxy

    def values(self, name: bytes) -> list[bytes]:
        """Returns the value of each header with this name, which must be in lower case."""
        return self.headers.get(name, [])

    def texts(self, name: bytes) -> list[str]:
        """Returns the same as `values`, decoded."""
        return [value.decode("latin-1") for value in self.values(name)]


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> Mapping[bytes, list[bytes]]:
    """Returns the values of each name, in order. Names must be in lower case."""
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return values


class HeadSize:
    """Adds up the size of a head while it arrives."""

    __slots__ = ("_bytes", "_headers", "_target")

    def __init__(self) -> None:
        self._bytes = self._headers = self._target = 0

    def add_target(self, size: int) -> Refusal | None:
        """Counts another part of the target. Returns a refusal if the target is too long."""
        self._bytes += size
        self._target += size
        return TOO_LONG if self._target > MAX_LINE_BYTES else None

    def add_header(self, size: int) -> Refusal | None:
        """Counts another header. Returns a refusal if the header or the head is too large."""
        self._bytes += size
        self._headers += 1
        too_large = size > MAX_LINE_BYTES or self._headers > MAX_HEADERS or self._bytes > MAX_HEAD_BYTES
        return TOO_LARGE if too_large else None


def refusal(head: RequestHead, rules: RequestRules) -> Refusal | None:
    """Returns why the request is rejected, or None if it may be served."""
    return first_refusal(
        (BAD_METHOD, head.method == b"CONNECT"),
        (BAD_REQUEST, not _has_one_end(head)),
        (BAD_METHOD, _has_body(head) and head.method not in (b"GET", b"HEAD")),
        (_BODY, _has_body(head)),
        (_BAD_HTTP_VERSION, head.upgrade and head.version != "1.1"),
        (_BAD_HOST, not _is_allowed_host(head, rules.allowed_hosts)),
        (_NOT_SECURE, rules.require_tls and not _used_tls(head, rules.trusted_proxies)),
        (_TOO_MANY_RANGES, sum(value.count(b",") for value in head.values(b"range")) >= MAX_RANGES),
    )


def _has_one_end(head: RequestHead) -> bool:
    """Returns whether every recipient agrees where the request ends.

    Otherwise a proxy could forward as one request what is two requests for the gateway (RFC 9112 §11.2).
    """
    lengths, codings = head.values(b"content-length"), head.values(b"transfer-encoding")
    if codings:
        return (
            head.version == "1.1" and not lengths and [coding.lower() for coding in codings] == [b"chunked"]
        )
    return head.version in ("1.0", "1.1") and len(lengths) <= 1 and all(map(bytes.isdigit, lengths))


def _has_body(head: RequestHead) -> bool:
    """Returns whether a body follows. The gateway answers such a request without reading it."""
    return bool(head.values(b"transfer-encoding") or b"".join(head.values(b"content-length")).strip(b"0"))


def _is_allowed_host(head: RequestHead, allowed_hosts: frozenset[str]) -> bool:
    values = head.values(b"host")
    if not values and head.version == "1.0":
        return not allowed_hosts
    if len(values) != 1:  # RFC 9112 §3.2
        return False
    host = values[0].decode("latin-1").lower()
    if not _HOST.fullmatch(host):
        return False
    return not allowed_hosts or host in allowed_hosts or _without_port(host) in allowed_hosts


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _used_tls(head: RequestHead, trusted_proxies: Container[Address]) -> bool:
    """Returns whether the nearest proxy, if trusted, received the request over TLS.

    The last value of X-Forwarded-Proto is the nearest proxy's; a client can send any earlier values.
    """
    scheme = b",".join(head.values(b"x-forwarded-proto")).rpartition(b",")[2].strip().lower()
    return head.peer in trusted_proxies and scheme in (b"https", b"wss")
