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

    def client_address(self, head: RequestHead) -> Address:
        """Returns the client's address: that of the peer, or the address that a trusted proxy forwards."""
        forwarded = ",".join(head.texts(b"x-forwarded-for"))
        return client_address(head.peer, forwarded, self.rules.trusted_proxies)

    def refusal(self, head: RequestHead) -> Refusal | None:
        """Returns why the handshake is rejected, or None. It does not check the other rules of RFC 6455."""
        path, _, query = head.target.decode().partition("?")
        return request_head.refusal(head, self.rules) or first_refusal(
            (_NOT_FOUND, path != PATH),
            (_METHOD, head.method != b"GET"),
            (_TOKEN_IN_URL, has_token(query)),
            (_ORIGIN, not self._allows_origin(head)),
            (_VERSION, head.values(b"sec-websocket-version") not in ([], [b"13"])),
            (_SUBPROTOCOL, not _offers_subprotocol(head.texts(b"sec-websocket-protocol"))),
        )

    def _allows_origin(self, head: RequestHead) -> bool:
        return self.credentials.allows_socket(
            head.texts(b"origin"), head.texts(b"host"), head.texts(b"cookie")
        )

    def token(self, head: RequestHead) -> str | None:
        """Returns the token in the request's cookie, or None."""
        return self.credentials.cookie(head.texts(b"cookie"))


def head_of(request: Request, peer: Address) -> RequestHead:
    """Returns the head of a handshake that `websockets` has read."""
    raw = ((name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.raw_items())
    headers = request_head.by_name(raw)
    return RequestHead(
        request.method.encode(), request.path.encode(), "1.1", headers, upgrade=True, peer=peer
    )


def _offers_subprotocol(headers: Iterable[str]) -> bool:
    """Returns whether a current or retired subprotocol is offered, and every offered name is valid."""
    offered = [name.strip() for header in headers for name in header.split(",")]
    return not {SUBPROTOCOL, *RETIRED_SUBPROTOCOLS}.isdisjoint(offered) and all(
        map(_TOKEN.fullmatch, offered)
    )
