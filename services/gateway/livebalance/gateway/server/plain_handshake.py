"""Reads the handshakes that clients usually send, and answers them (RFC 6455 §4). Pure: no I/O.

For each of these, `websockets` needs several times as long, most of it before the client is known to be
admitted. All other handshakes are left to it.
"""

import re
from collections.abc import Mapping

from websockets.utils import accept_key

from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.server.request_head import MAX_HEADERS, MAX_LINE_BYTES, RequestHead, by_name
from livebalance.wire.frame import SUBPROTOCOL

_SUBPROTOCOL = SUBPROTOCOL.encode()
_HEAD = re.compile(
    rb"GET (/ws(?:\?[!-~]*)?) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+)\r\n"  # RFC 9110 §5.6.2 and §5.5, without obs-text
)
_KEY = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")  # 16 bytes in base64
_CONNECTION = (b"upgrade", b"keep-alive, upgrade")
_RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\nSec-WebSocket-Protocol: " + _SUBPROTOCOL + b"\r\n\r\n"
)


def read_plain_handshake(data: bytes, peer: Address) -> RequestHead | None:
    """Returns the head, with which `data` ends; None: `websockets` must read it."""
    if len(data) > MAX_LINE_BYTES or not (match := _HEAD.fullmatch(data)):
        return None
    target, lines = match.groups()
    headers = by_name(
        (name.lower(), value.strip(b" \t"))
        for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n")[:-1])
    )
    head = RequestHead(b"GET", target, "1.1", headers, upgrade=True, peer=peer)
    return head if lines.count(b"\n") <= MAX_HEADERS and _is_plain(headers) else None


def _is_plain(headers: Mapping[bytes, list[bytes]]) -> bool:
    """Returns whether `websockets` would accept a handshake with these headers, and read nothing after it."""
    connection, key = headers.get(b"connection", []), headers.get(b"sec-websocket-key", [])
    return (
        headers.get(b"upgrade") == [b"websocket"]
        and headers.get(b"sec-websocket-version") == [b"13"]
        and headers.get(b"sec-websocket-protocol") == [_SUBPROTOCOL]
        and len(connection) == len(key) == 1
        and len(headers.get(b"origin", [])) <= 1
        and connection[0].lower() in _CONNECTION
        and _KEY.fullmatch(key[0]) is not None
        and b"content-length" not in headers
        and b"transfer-encoding" not in headers
    )


def accept_plain_handshake(head: RequestHead) -> bytes:
    """Returns the response that opens the WebSocket."""
    (key,) = head.values(b"sec-websocket-key")
    return _RESPONSE % accept_key(key.decode()).encode()
