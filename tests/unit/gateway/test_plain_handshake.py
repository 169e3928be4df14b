import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request

from livebalance.gateway.limits.client_address import Address
from livebalance.gateway.server.handshake import head_of
from livebalance.gateway.server.plain_handshake import accept_plain_handshake, read_plain_handshake
from livebalance.gateway.server.request_head import MAX_HEADERS, MAX_LINE_BYTES
from livebalance.gateway.server.websocket_protocol import WebSocketProtocol

PEER: Address = "192.0.2.1"
START = b"GET /ws HTTP/1.1\r\n"
REQUIRED = (
    b"Host: localhost:8000",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Protocol: livebalance.v1",
)
FIREFOX = (
    b"User-Agent: Mozilla/5.0",
    b"Accept: */*",
    b"Sec-WebSocket-Extensions: permessage-deflate",
    b"Origin: http://localhost:8000",
    b"Cookie: theme=dark; other=1",
    b"Pragma: no-cache",
)
ODD = (
    b"Connection: keep-alive, Upgrade",
    b"connection:upgrade",
    b"Connection: close",
    b"Connection: Upgrade, close",
    b"Upgrade: h2c, websocket",
    b"Upgrade: WebSocket",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==",
    b"Sec-WebSocket-Key: short",
    b"Sec-WebSocket-Protocol: livebalance.v0, livebalance.v1",
    b"Sec-WebSocket-Protocol: chat",
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Header",
    b" Folded: line",
    b"Bad Name: x",
    b"Empty:",
    b"Obsolete: caf\xe9",
    b"Zero: a\x00b",
    b"Tab: a\tb",
)


def request(*headers: bytes, start: bytes = START) -> bytes:
    return start + b"".join(header + b"\r\n" for header in headers) + b"\r\n"


def assert_websockets_agrees(data: bytes) -> None:
    """Asserts that `websockets` reads the same head, accepts it, and answers the same but for the date."""
    head = read_plain_handshake(data, PEER)
    assert head
    protocol = WebSocketProtocol()
    protocol.receive_data(data)
    (event,) = protocol.events_received()
    assert isinstance(event, Request)
    assert head_of(event, PEER) == head
    response = protocol.accept(event)
    del response.headers["Date"]
    assert accept_plain_handshake(head) == response.serialize()
    assert not protocol.is_retired
    assert not protocol.reader.buffer


@pytest.mark.parametrize("more", [(), FIREFOX], ids=["program", "browser"])
def test_usual_handshake_is_plain(more: tuple[bytes, ...]) -> None:
    assert_websockets_agrees(request(*REQUIRED, *more))
    assert_websockets_agrees(request(*REQUIRED, *more, start=b"GET /ws?from=page HTTP/1.1\r\n"))


def test_answer_is_that_of_the_standard() -> None:
    """RFC 6455 §1.3 has the accept value of this key."""
    head = read_plain_handshake(request(*REQUIRED), PEER)
    assert head
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accept_plain_handshake(head)


@given(st.lists(st.sampled_from(FIREFOX + ODD), max_size=12), st.data())
def test_plain_handshake_is_what_websockets_accepts(more: list[bytes], data: st.DataObject) -> None:
    lines = data.draw(st.permutations([*REQUIRED, *more]))
    if read_plain_handshake(request(*lines), PEER):
        assert_websockets_agrees(request(*lines))


@given(st.permutations(REQUIRED), st.sampled_from(ODD), st.integers(0, len(REQUIRED) - 1))
def test_odd_header_in_place_of_a_required_one(lines: list[bytes], odd: bytes, place: int) -> None:
    lines[place] = odd
    if read_plain_handshake(request(*lines), PEER):
        assert_websockets_agrees(request(*lines))


@given(st.data())
def test_changed_bytes_are_read_as_websockets_reads_them(data: st.DataObject) -> None:
    usual = request(*REQUIRED, *FIREFOX)
    first = data.draw(st.integers(0, len(usual)))
    last = data.draw(st.integers(first, min(len(usual), first + 3)))
    changed = usual[:first] + data.draw(st.binary(max_size=4)) + usual[last:]
    if read_plain_handshake(changed, PEER):
        assert_websockets_agrees(changed)


@given(st.integers(1, len(request(*REQUIRED)) - 1))
def test_part_of_a_handshake_is_left_to_websockets(size: int) -> None:
    assert read_plain_handshake(request(*REQUIRED)[:size], PEER) is None


@pytest.mark.parametrize(
    "data",
    [
        request(*REQUIRED) + b"\x81",
        request(*REQUIRED) * 2,
        request(*REQUIRED, b"Origin: http://localhost:8000", b"Origin: http://localhost:8000"),
        request(*REQUIRED, start=b"GET /wss HTTP/1.1\r\n"),
        request(*REQUIRED, start=b"GET /ws HTTP/1.0\r\n"),
        request(*REQUIRED, *(b"X: y" for _ in range(MAX_HEADERS))),
        request(*REQUIRED, b"X: " + b"y" * MAX_LINE_BYTES),
        request(*REQUIRED).replace(b"\r\n", b"\n"),
    ],
    ids=[
        "a frame follows",
        "two",
        "two origins",
        "another path",
        "HTTP/1.0",
        "many headers",
        "a long header",
        "bare line feeds",
    ],
)
def test_unusual_handshake_is_left_to_websockets(data: bytes) -> None:
    assert read_plain_handshake(data, PEER) is None
