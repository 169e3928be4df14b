"""Frames as server-sent events (HTML §9.2): the JSON of the WebSocket, with event ids to resume from."""

from collections.abc import Iterable

from msgspec import Struct, json

from livebalance.gateway.live.outbox import Frame
from livebalance.wire.close import CloseCode, CloseReason, close_reason
from livebalance.wire.event_id import Positions, encode_event_id


class EventEncoder:
    """Encodes the frames of a stream. Tracks the client's positions, which are the event ids."""

    def __init__(self, positions: Positions) -> None:
        """`positions`: where the client resumes."""
        self._positions = dict(positions)

    def encode(self, frames: Iterable[Frame | bytes]) -> bytes:
        """Returns an event for each frame."""
        return b"".join(map(self._encode, frames))

    def _encode(self, frame: Frame | bytes) -> bytes:
        if isinstance(frame, bytes):
            return _data(frame)
        assert isinstance(frame.account, str), "a stream has no sets"
        self._positions[frame.account] = frame.after
        return b"id: %b\n%b" % (encode_event_id(self._positions).encode(), _data(frame.text))


class CloseEvent(Struct, frozen=True):
    """The data of the last event: the close code and reason that a WebSocket would get."""

    code: int
    reason: CloseReason


def encode_close(code: CloseCode, word: str, retry_after_ms: int | None = None) -> bytes:
    """Returns the last event. With `retry_after_ms`, it also sets the browser's reconnection time."""
    retry = b"" if retry_after_ms is None else b"retry: %d\n" % retry_after_ms
    event = CloseEvent(code, close_reason(word, retry_after_ms))
    return retry + b"event: close\n" + _data(json.encode(event))


def _data(text: bytes) -> bytes:
    """Returns the field `data`. A line break in JSON is white space, so its kind need not be kept."""
    return b"".join(b"data: %b\n" % line for line in text.splitlines()) + b"\n"
