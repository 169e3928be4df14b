"""Encodes the frames of an outbox for a WebSocket, once for many clients."""

from collections.abc import Sequence

from livebalance.gateway.live.outbox import Frame
from livebalance.wire.websocket_frame import encode_text


class FrameEncoder:
    """Remembers the last frames and their bytes: a delta goes to all subscribers of its account in a row.

    The connections of a gateway share an encoder.
    """

    __slots__ = ("_encoded", "_frames")

    def __init__(self) -> None:
        self._frames: Sequence[Frame | bytes] = ()
        self._encoded = b""

    def encode(self, frames: Sequence[Frame | bytes]) -> bytes:
        """Returns the WebSocket text frames for `frames`, joined. `frames` must not change later."""
        if frames != self._frames:
            self._frames = frames
            if len(frames) == 1:
                self._encoded = _encode(frames[0])
            else:
                self._encoded = b"".join(map(_encode, frames))
        return self._encoded


def _encode(frame: Frame | bytes) -> bytes:
    return encode_text(frame if isinstance(frame, bytes) else frame.text)
