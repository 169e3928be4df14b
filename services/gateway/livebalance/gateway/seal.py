"""Text that clients give back to us, opaque to them. It hides nothing: what it names is checked again."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import crc32

from livebalance.wire.errors import DecodeError

_CHECK = 4  # bytes


def sealed(text: str) -> str:
    """Of ASCII; a third longer."""
    body = text.encode("ascii")
    return urlsafe_b64encode(body + crc32(body).to_bytes(_CHECK, "big")).decode().rstrip("=")


def opened(seal: str) -> str:
    """Raises DecodeError unless `sealed` made it."""
    try:
        text = urlsafe_b64decode(seal + "=" * (-len(seal) % 4))[:-_CHECK].decode("ascii")
    except ValueError as cause:
        raise DecodeError("bad cursor") from cause
    if sealed(text) != seal:
        raise DecodeError("bad cursor")
    return text
