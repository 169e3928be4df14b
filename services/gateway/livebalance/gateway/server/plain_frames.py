"""Reads the frames that clients usually send: whole text messages, and answers to pings. Pure: no I/O.

For each of these, `websockets` needs several times as long, and several KiB for each connection. All other
frames, and every part of a frame, are left to it.
"""

from typing import NamedTuple

from websockets.frames import Opcode
from websockets.utils import apply_mask

from livebalance.wire.frame import MAX_CLIENT_FRAME

_TEXT = 0x80 | Opcode.TEXT  # the first byte: final, no extension (RFC 6455 §5.2)
_PONG = 0x80 | Opcode.PONG
_MASKED = 0x80  # in the second byte, with the length: every client masks its frames
_MAX_SHORT_LENGTH = 125
_LENGTH_IN_TWO_BYTES = 126


class PlainFrame(NamedTuple):
    """A whole message, or an empty pong."""

    text: bytes | None  # None: a pong
    end: int  # index of the byte that follows


def read_plain_frame(data: bytes, start: int) -> PlainFrame | None:
    """Returns the frame at `start`, which is where a frame begins; None: `websockets` must read it."""
    if len(data) < start + 6:
        return None
    first, length, mask = data[start], data[start + 1] ^ _MASKED, start + 2
    if length == _LENGTH_IN_TWO_BYTES:
        length, mask = int.from_bytes(data[mask : mask + 2], "big"), mask + 2
        if not _MAX_SHORT_LENGTH < length <= MAX_CLIENT_FRAME:
            return None
    elif length > _MAX_SHORT_LENGTH:  # longer, or not masked
        return None
    body, end = mask + 4, mask + 4 + length
    if len(data) < end:
        return None
    if first == _TEXT:
        return PlainFrame(apply_mask(data[body:end], data[mask:body]), end)
    return PlainFrame(None, end) if first == _PONG and length == 0 else None
