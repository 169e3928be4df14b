"""Frames of the socket as server-sent events (HTML, 9.2): the same JSON, each data frame with a bookmark."""

from collections.abc import Iterable

from msgspec import Struct, json

from livebalance.gateway.live.outbox import Frame
from livebalance.wire.close import CloseCode, CloseReason, close_reason
from livebalance.wire.event_id import Positions, encode_event_id


class EventEncoder:
    """What the reader of one stream was told so far, as positions."""

    def __init__(self, at: Positions) -> None:
        self._at = dict(at)

    def events(self, frames: Iterable[Frame | bytes]) -> bytes:
        """The next of it."""
        return b"".join(map(self._event, frames))

    def _event(self, frame: Frame | bytes) -> bytes:
        if isinstance(frame, bytes):
            return _data(frame)
        self._at[frame.account] = frame.after
        return b"id: %b\n%b" % (encode_event_id(self._at).encode(), _data(frame.text))


class CloseEvent(Struct, frozen=True):
    """The data of the last event: how a socket would have been closed."""

    code: int
    reason: CloseReason


def end(code: CloseCode, word: str, retry_after_ms: int | None = None) -> bytes:
    """The last event; it also says when a browser comes back by itself."""
    retry = b"" if retry_after_ms is None else b"retry: %d\n" % retry_after_ms
    return (
        retry + b"event: close\n" + _data(json.encode(CloseEvent(code, close_reason(word, retry_after_ms))))
    )


def _data(words: bytes) -> bytes:
    """However the words are broken into lines, they mean the same."""
    return b"".join(b"data: %b\n" % line for line in words.splitlines()) + b"\n"
