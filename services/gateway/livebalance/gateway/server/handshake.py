"""Checks of a WebSocket handshake: path, method, origin, version and subprotocol."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

from websockets.http11 import Request

from livebalance.gateway.auth.credentials import Credentials, has_token
from livebalance.gateway.limits.client_address import Address, client_address
from livebalance.gateway.server import request_head
from livebalance.gateway.server.refusal import Refusal, first_refusal
from livebalance.gateway.server.request_head import RequestHead, RequestRules
from livebalance.wire.frame import RETIRED_SUBPROTOCOLS, SUBPROTOCOL

PATH = "/ws"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)  # RFC 9110 §5.6.2

BAD_HANDSHAKE = Refusal(HTTPStatus.BAD_REQUEST, "handshake", "This is not a WebSocket handshake (RFC 6455).")
_NOT_FOUND = Refusal(HTTPStatus.NOT_FOUND, "not_found", f"Connect to {PATH}.")
_METHOD = Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method", "Open a WebSocket with GET.", {"allow": "GET"})
_TOKEN_IN_URL = Refusal(
    HTTPStatus.BAD_REQUEST, "token_in_url", "Send the token in the first message, not in the URL."
)
_ORIGIN = Refusal(HTTPStatus.FORBIDDEN, "origin", "This origin is not allowed.")
_VERSION = Refusal(
    HTTPStatus.UPGRADE_REQUIRED,
    "websocket_version",
    "Use WebSocket version 13 (RFC 6455).",
    {"upgrade": "websocket", "connection": "Upgrade, close", "sec-websocket-version": "13"},
)
_SUBPROTOCOL = Refusal(HTTPStatus.BAD_REQUEST, "subprotocol", f"Offer the subprotocol {SUBPROTOCOL}.")


class Handshake(NamedTuple):
    """The checks of every WebSocket handshake of a gateway."""

    rules: RequestRules
    credentials: Credentials

    def client_address(self, request: Request, peer: Address) -> Address:
        """Returns the client's address: that of `peer`, or the address that a trusted proxy forwards."""
        forwarded = ",".join(request.headers.get_all("X-Forwarded-For"))
        return client_address(peer, forwarded, self.rules.trusted_proxies)

    def refusal(self, request: Request, peer: Address) -> Refusal | None:
        """Returns why the handshake is rejected, or None. `websockets` checks the other rules of RFC 6455."""
        path, _, query = request.path.partition("?")
        return request_head.refusal(_head(request, peer), self.rules) or first_refusal(
            (_NOT_FOUND, path != PATH),
            (_METHOD, request.method != "GET"),
            (_TOKEN_IN_URL, has_token(query)),
            (_ORIGIN, not self.credentials.allows_socket(request.headers)),
            (_VERSION, request.headers.get_all("Sec-WebSocket-Version") not in ([], ["13"])),
            (_SUBPROTOCOL, not _offers_subprotocol(request.headers.get_all("Sec-WebSocket-Protocol"))),
        )

    def token(self, request: Request) -> str | None:
        """Returns the token in the request's cookie, or None."""
        return self.credentials.cookie(request.headers.get_all("Cookie"))


def _head(request: Request, peer: Address) -> RequestHead:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.raw_items()]
    return RequestHead(request.method.encode(), request.path.encode(), "1.1", raw, upgrade=True, peer=peer)


def _offers_subprotocol(headers: Iterable[str]) -> bool:
    """Returns whether a current or retired subprotocol is offered, and every offered name is valid."""
    offered = [name.strip() for header in headers for name in header.split(",")]
    return not {SUBPROTOCOL, *RETIRED_SUBPROTOCOLS}.isdisjoint(offered) and all(
        map(_TOKEN.fullmatch, offered)
    )
