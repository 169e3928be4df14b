"""Close codes of the socket.

4000-4499 mean "come back" (the reason is JSON with retry_after_ms), 4500-4999 never.
"""

from enum import IntEnum

from msgspec import DecodeError as _NotJson
from msgspec import Struct, json


class Close(IntEnum):
    """The codes a gateway closes with, and what the client does about each."""

    GOING_AWAY = 1001  # comes back
    UNSUPPORTED = 1003  # a binary frame; does not come back
    BAD_TEXT = 1007  # does not come back
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


_FINAL_RFC = frozenset({Close.UNSUPPORTED, Close.BAD_TEXT, Close.TOO_BIG, 1002, 1008, 1010})


class Reason(Struct, frozen=True):
    """The reason of a close, as JSON (at most 123 bytes)."""

    code: str = ""
    retry_after_ms: int | None = None


def comes_back(code: int) -> bool:
    """Whether a client closed with `code` connects again by itself. Unknown codes below 4500 do."""
    return not (4500 <= code <= 4999 or code in _FINAL_RFC)


def retry_after_ms(reason: str) -> int | None:
    """What the reason of a close asks for; None when it says nothing that can be read."""
    try:
        asked = json.decode(reason, type=Reason).retry_after_ms
    except (_NotJson, UnicodeEncodeError, RecursionError):
        return None
    return asked if asked is None or 0 <= asked <= 3_600_000 else None
