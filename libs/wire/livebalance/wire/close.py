"""Close codes and close reasons of the WebSocket protocol.

A client closed with 4000-4499 reconnects, one closed with 4500-4999 does not (docs/protocol.md#close-codes).
"""

from enum import IntEnum

from msgspec import DecodeError as _JsonError
from msgspec import Struct, json


class CloseCode(IntEnum):
    """Codes that a gateway closes with. Each comment says what the client does."""

    GOING_AWAY = 1001  # reconnects
    PROTOCOL_ERROR = 1002  # RFC 6455 violated; does not reconnect
    UNSUPPORTED = 1003  # binary frame; does not reconnect
    BAD_TEXT = 1007  # invalid UTF-8; does not reconnect
    POLICY = 1008  # too many control frames or fragments, or a message took too long; does not reconnect
    TOO_BIG = 1009  # does not reconnect
    INTERNAL = 1011  # reconnects
    GOODBYE = 4000  # drain or maximum age: reconnects within the given time, resumes
    TOKEN_EXPIRED = 4001  # reconnects with a new token, resumes
    BUSY = 4013  # limit of the gateway or rate limit: reconnects after retry_after_ms
    BROKEN_PROTOCOL = 4500  # does not reconnect
    NOT_AUTHENTICATED = 4501  # reconnects only with another token
    REVOKED = 4503  # does not reconnect
    TOO_MANY_CONNECTIONS = 4505  # does not reconnect by itself
    OLD_VERSION = 4506  # a page reloads
    ABUSE = 4509  # does not reconnect


_FINAL_RFC = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED,
        CloseCode.BAD_TEXT,
        CloseCode.POLICY,
        CloseCode.TOO_BIG,
        1010,  # mandatory extension; a gateway never sends it
    }
)

MAX_REASON_BYTES = 123  # a close frame has at most 125 bytes, two of them for the code (RFC 6455 §5.5)

# Texts for a person, by the code of a reason.
_MESSAGES = {
    "abuse": "too many requests, again and again",
    "age": "this connection reached its maximum age",
    "assembly": "a message took too long to arrive",
    "bad_message": "three messages did not follow the protocol",
    "bad_text": "a message was not valid UTF-8",
    "binary": "binary messages are not supported",
    "busy": "the gateway is busy",
    "controls": "too many control frames",
    "drain": "the gateway is restarting",
    "fragments": "a message had too many fragments",
    "internal": "the gateway failed",
    "protocol_error": "a frame violated the WebSocket protocol",
    "rate_limited": "too many requests",
    "stopping": "the gateway is stopping",
    "old_version": "this protocol version is no longer supported",
    "nothing_left": "no account of this stream is visible any more",
    "keys_missing": "the keys that verify this token are being fetched",
    "revoked": "access was revoked",
    "rights_unknown": "the gateway cannot check access rights now",
    "token_expired": "the session expired",
    "too_big": "a message was too large",
    "too_many_connections": "too many connections of this user",
    "unauthenticated": "not signed in",
}


class CloseReason(Struct, frozen=True, omit_defaults=True):
    """Reason of a close, sent as JSON of at most 123 bytes."""

    code: str = ""
    message: str = ""
    retry_after_ms: int | None = None
    error_id: str = ""  # names an internal error in the gateway's log


def close_reason(code: str, retry_after_ms: int | None = None, message: str = "") -> CloseReason:
    """Returns the reason `code` with its default message, unless `message` is given."""
    return CloseReason(code, message or _MESSAGES.get(code, ""), retry_after_ms)


def encode_reason(
    code: str, retry_after_ms: int | None = None, message: str = "", *, error_id: str = ""
) -> str:
    """Returns the JSON of a reason for a close frame. A message that does not fit is left out."""
    full = CloseReason(code, message or _MESSAGES.get(code, ""), retry_after_ms, error_id)
    text = json.encode(full)
    if len(text) > MAX_REASON_BYTES:
        text = json.encode(CloseReason(code, "", retry_after_ms, error_id))
    return text.decode()


class _RetryAfter(Struct, frozen=True):
    """Fields that a client needs from any reason, also one that a proxy wrote."""

    code: str = ""
    retry_after_ms: int | None = None


def should_reconnect(code: int) -> bool:
    """Returns whether a client that was closed with `code` reconnects. Unknown codes below 4500 say yes."""
    return not (4500 <= code <= 4999 or code in _FINAL_RFC)


def retry_after_ms(reason: str) -> int | None:
    """Returns the wait in ms (at most an hour) that `reason` asks for, or None if it names no valid wait."""
    try:
        wait = json.decode(reason, type=_RetryAfter).retry_after_ms
    except (_JsonError, UnicodeEncodeError, RecursionError):
        return None
    return wait if wait is None or 0 <= wait <= 3_600_000 else None
