"""The request to become a WebSocket: whether it is one of this protocol, and from a page of ours."""

import re
from http import HTTPStatus

from websockets.http11 import Request

from livebalance.gateway.refusal import Refusal
from livebalance.wire.frame import SUBPROTOCOL

PATH = "/ws"

_SCHEMES = ("http", "https")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2

BAD = Refusal(HTTPStatus.BAD_REQUEST, "handshake", "this is no handshake of a WebSocket (RFC 6455)")
_ELSEWHERE = Refusal(HTTPStatus.NOT_FOUND, "not_found", "no WebSocket here")
_METHOD = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method", "a WebSocket begins with GET", {"allow": "GET"})
_ORIGIN = Refusal(HTTPStatus.FORBIDDEN, "origin", "origin not allowed")
_VERSION = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    "websocket_version",
    "WebSocket of version 13 (RFC 6455) is spoken here",
    {"upgrade": "websocket", "connection": "Upgrade, close", "sec-websocket-version": "13"},
)
_SUBPROTOCOL = Refusal(HTTPStatus.BAD_REQUEST, "subprotocol", f"ask for the subprotocol {SUBPROTOCOL}")


def refusal(request: Request) -> Refusal | None:
    """None: the rest of the handshake is as RFC 6455 says."""
    if request.path.partition("?")[0] != PATH:
        return _ELSEWHERE
    if request.method != "GET":
        return _METHOD
    if not _is_ours(request):
        return _ORIGIN
    if request.headers.get_all("Sec-WebSocket-Version") not in ([], ["13"]):
        return _VERSION
    offered = [
        one.strip() for value in request.headers.get_all("Sec-WebSocket-Protocol") for one in value.split(",")
    ]
    if SUBPROTOCOL not in offered or not all(map(_TOKEN.fullmatch, offered)):
        return _SUBPROTOCOL
    return None


def _is_ours(request: Request) -> bool:
    """A page of another origin could use what its visitor may see."""
    ours = {f"{scheme}://{host}".lower() for host in request.headers.get_all("Host") for scheme in _SCHEMES}
    return all(origin.lower() in ours for origin in request.headers.get_all("Origin"))
