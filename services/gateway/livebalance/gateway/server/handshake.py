"""The request to become a WebSocket: whether it is one of this protocol, and from a page of ours."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from websockets.http11 import Request

from livebalance.gateway.auth.credentials import Credentials, in_url
from livebalance.gateway.limits.connections import Address, client_address
from livebalance.gateway.server import request_head
from livebalance.gateway.server.refusal import Refusal, first
from livebalance.gateway.server.request_head import RequestHead, RequestRules
from livebalance.wire.frame import RETIRED, SUBPROTOCOL

PATH = "/ws"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110, 5.6.2

BAD = Refusal(HTTPStatus.BAD_REQUEST, "handshake", "this is no handshake of a WebSocket (RFC 6455)")
_ELSEWHERE = Refusal(HTTPStatus.NOT_FOUND, "not_found", "no WebSocket here")
_METHOD = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method", "a WebSocket begins with GET", {"allow": "GET"})
_TOKEN_IN_URL = Refusal(HTTPStatus.BAD_REQUEST, "token_in_url", "a token belongs into the first message")
_ORIGIN = Refusal(HTTPStatus.FORBIDDEN, "origin", "origin not allowed")
_VERSION = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    "websocket_version",
    "WebSocket of version 13 (RFC 6455) is spoken here",
    {"upgrade": "websocket", "connection": "Upgrade, close", "sec-websocket-version": "13"},
)
_SUBPROTOCOL = Refusal(HTTPStatus.BAD_REQUEST, "subprotocol", f"ask for the subprotocol {SUBPROTOCOL}")


class Handshake(NamedTuple):
    """Where all sockets of a gateway come in."""

    rules: RequestRules
    credentials: Credentials

    def client_address(self, request: Request, peer: Address) -> Address:
        """Of the client."""
        return client_address(peer, ",".join(request.headers.get_all("X-Forwarded-For")), self.rules.proxies)

    def refusal(self, request: Request, peer: Address) -> Refusal | None:
        """None: the rest of the handshake is as RFC 6455 says."""
        path, _, query = request.path.partition("?")
        return request_head.refusal(_head(request, peer), self.rules) or first(
            (_ELSEWHERE, path != PATH),
            (_METHOD, request.method != "GET"),
            (_TOKEN_IN_URL, in_url(query)),
            (_ORIGIN, not self.credentials.welcome(request.headers)),
            (_VERSION, request.headers.get_all("Sec-WebSocket-Version") not in ([], ["13"])),
            (_SUBPROTOCOL, not _speaks(request.headers.get_all("Sec-WebSocket-Protocol"))),
        )

    def token(self, request: Request) -> str | None:
        """The one in its cookie."""
        return self.credentials.cookie(request.headers.get_all("Cookie"))


def _head(request: Request, peer: Address) -> RequestHead:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.raw_items()]
    return RequestHead(request.method.encode(), request.path.encode(), "1.1", raw, upgrade=True, peer=peer)


def _speaks(headers: Iterable[str]) -> bool:
    """Whether our protocol is offered, or one that was, and everything offered may be the name of one."""
    offered = [one.strip() for header in headers for one in header.split(",")]
    return not {SUBPROTOCOL, *RETIRED}.isdisjoint(offered) and all(map(_TOKEN.fullmatch, offered))
