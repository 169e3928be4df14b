"""Close codes of the socket.

4000-4499 mean "come back" (the reason is JSON with retry_after_ms), 4500-4999 never.
"""

from enum import IntEnum

from msgspec import DecodeError as _NotJson
from msgspec import Struct, json


class CloseCode(IntEnum):
    """The codes a gateway closes with, and what the client does about each."""

    GOING_AWAY = 1001  # comes back
    PROTOCOL_ERROR = 1002  # RFC 6455 broken; does not come back
    UNSUPPORTED = 1003  # a binary frame; does not come back
    BAD_TEXT = 1007  # does not come back
    POLICY = (
        1008  # more control frames, fragments or time for a message than anyone needs; does not come back
    )
    TOO_BIG = 1009  # does not come back
    INTERNAL = 1011  # comes back
    GOODBYE = 4000  # drain or age: comes back within the time given, resumes
    TOKEN_EXPIRED = 4001  # comes back with a new token, resumes
    BUSY = 4013  # limit of the gateway or of the rate: comes back after retry_after_ms
    BROKEN_PROTOCOL = 4500
    NOT_AUTHENTICATED = 4501  # only with another token
    REVOKED = 4503
    TOO_MANY_CONNECTIONS = 4505  # not by itself
    OLD_VERSION = 4506  # reloads
    ABUSE = 4509


_FINAL_RFC = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED,
        CloseCode.BAD_TEXT,
        CloseCode.POLICY,
        CloseCode.TOO_BIG,
        1010,
    }
)

MAX_REASON = 123  # bytes (RFC 6455, 5.5)

# What a person may be shown, by the word of a reason.
_MESSAGES = {
    "abuse": "asked too often, again and again",
    "age": "this connection has become old",
    "assembly": "a message took too long to come",
    "bad_message": "three messages were not of this protocol",
    "bad_text": "a message was not UTF-8",
    "binary": "messages are text here",
    "busy": "the gateway is busy",
    "controls": "too many pings",
    "drain": "the gateway is restarting",
    "fragments": "a message in too many pieces",
    "internal": "the gateway failed",
    "protocol_error": "a frame was not of WebSocket",
    "rate_limited": "asked too often",
    "stopping": "the gateway is stopping",
    "old_version": "this version is no longer served",
    "nothing_left": "no account of this stream may be seen, or it was erased",
    "keys_missing": "the keys to check this token with are being read",
    "revoked": "access was revoked",
    "token_expired": "the session expired",
    "too_big": "a message was too big",
    "too_many_connections": "too many connections of this user",
    "unauthenticated": "not signed in",
}


class CloseReason(Struct, frozen=True, omit_defaults=True):
    """The reason of a close, as JSON (at most 123 bytes)."""

    code: str = ""
    message: str = ""
    retry_after_ms: int | None = None
    error_id: str = ""  # of a bug: it names it in the log


def close_reason_field(word: str, retry_after_ms: int | None = None, message: str = "") -> CloseReason:
    return CloseReason(word, message or _MESSAGES.get(word, ""), retry_after_ms)


def reason(word: str, retry_after_ms: int | None = None, message: str = "", *, error_id: str = "") -> str:
    """The reason of a close as it is sent; without its message if that is too long."""
    found = CloseReason(word, message or _MESSAGES.get(word, ""), retry_after_ms, error_id)
    text = json.encode(found)
    if len(text) > MAX_REASON:
        text = json.encode(CloseReason(word, "", retry_after_ms, error_id))
    return text.decode()


class _Asked(Struct, frozen=True):
    """What a client needs of a reason, whoever wrote it."""

    code: str = ""
    retry_after_ms: int | None = None


def comes_back(code: int) -> bool:
    """Whether a client closed with `code` connects again by itself. Unknown codes below 4500 do."""
    return not (4500 <= code <= 4999 or code in _FINAL_RFC)


def retry_after_ms(reason: str) -> int | None:
    """What the reason of a close asks for; None when it says nothing that can be read."""
    try:
        asked = json.decode(reason, type=_Asked).retry_after_ms
    except (_NotJson, UnicodeEncodeError, RecursionError):
        return None
    return asked if asked is None or 0 <= asked <= 3_600_000 else None
