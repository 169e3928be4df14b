"""WebSocket frames as a server sends them: not masked and not fragmented (RFC 6455 §5.2)."""


def encode_text(text: bytes) -> bytes:
    """Returns the WebSocket text frame for `text`, which is UTF-8."""
    size = len(text)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + text
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text
