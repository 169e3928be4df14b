"""The head of a request, judged before anyone reads it: its size, and whether it is meant for us."""

import re
from collections.abc import Container, Sequence
from http import HTTPStatus
from typing import NamedTuple

from livebalance.gateway.limits.connections import Address
from livebalance.gateway.server.refusal import Refusal, first

LINE_BYTES = 8 * 1024  # of one header, or of the target
HEAD_BYTES = 32 * 1024
HEADERS = 100
RANGES = 8  # parts of a file asked for at once: each costs more to send than to ask for

PROBES = (b"/livez", b"/readyz")
NEAR = (*PROBES, b"/metrics")  # whoever asks for these may know us by another name or an address, without TLS

# RFC 9110, 7.2: a name or an address, and a port.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)

BAD_REQUEST = Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "this is no request of HTTP/1.1")
TOO_LARGE = Refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head_too_large",
    f"at most {HEADERS} headers of {LINE_BYTES} bytes",
)
TOO_LONG = Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, "target_too_long", f"at most {LINE_BYTES} bytes")
BAD_METHOD = Refusal(
    HTTPStatus.METHOD_NOT_ALLOWED, "method", "this method is not known here", {"allow": "GET, HEAD"}
)
_BAD_HOST = Refusal(HTTPStatus.BAD_REQUEST, "host", "this host is not served here")
_OLD = Refusal(HTTPStatus.BAD_REQUEST, "http_version", "a WebSocket needs HTTP/1.1")
_PLAIN = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    "not_secure",
    "come by TLS",
    {"upgrade": "TLS/1.2, HTTP/1.1", "connection": "Upgrade, close"},
)
_RANGES = Refusal(
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "ranges", f"at most {RANGES} parts of a file at once"
)


class RequestRules(NamedTuple):
    """`hosts`: the names, with or without a port, that are ours; none: any. `proxies` speak for clients."""

    hosts: frozenset[str] = frozenset()
    secure: bool = False  # only what a proxy of ours got by TLS
    proxies: Container[Address] = frozenset()


class RequestHead(NamedTuple):
    method: bytes
    target: bytes
    version: str  # as 1.1
    headers: Sequence[tuple[bytes, bytes]]  # names in lower case
    upgrade: bool  # to a WebSocket
    peer: Address  # who is connected

    def all(self, name: bytes) -> list[bytes]:
        return [value for header, value in self.headers if header == name]


class HeadSize:
    """Of a head while it comes."""

    __slots__ = ("_bytes", "_headers", "_target")

    def __init__(self) -> None:
        self._bytes = self._headers = self._target = 0

    def target(self, size: int) -> Refusal | None:
        """More of the target has come."""
        self._bytes += size
        self._target += size
        return TOO_LONG if self._target > LINE_BYTES else None

    def header(self, size: int) -> Refusal | None:
        """Another header of that size has come."""
        self._bytes += size
        self._headers += 1
        too_large = size > LINE_BYTES or self._headers > HEADERS or self._bytes > HEAD_BYTES
        return TOO_LARGE if too_large else None


def refusal(head: RequestHead, rules: RequestRules) -> Refusal | None:
    """None: it may be served."""
    near = head.target.partition(b"?")[0] in NEAR
    return first(
        (BAD_METHOD, head.method == b"CONNECT"),
        (_OLD, head.upgrade and head.version != "1.1"),
        (_BAD_HOST, not near and not _is_ours(head, rules.hosts)),
        (_PLAIN, not near and rules.secure and not _is_secure(head, rules.proxies)),
        (_RANGES, sum(value.count(b",") for value in head.all(b"range")) >= RANGES),
    )


def _is_ours(head: RequestHead, hosts: frozenset[str]) -> bool:
    named = head.all(b"host")
    if not named and head.version == "1.0":
        return not hosts
    if len(named) != 1:  # RFC 9112, 3.2
        return False
    host = named[0].decode("latin-1").lower()
    return bool(_HOST.fullmatch(host)) and (not hosts or host in hosts or _without_port(host) in hosts)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_secure(head: RequestHead, proxies: Container[Address]) -> bool:
    """What the nearest proxy says; a client could say anything."""
    told = b",".join(head.all(b"x-forwarded-proto")).rpartition(b",")[2].strip().lower()
    return head.peer in proxies and told in (b"https", b"wss")
