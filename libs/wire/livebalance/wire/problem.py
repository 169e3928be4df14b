"""An error of HTTP as a client is told it: application/problem+json (RFC 9457). It echoes nothing."""

from http import HTTPStatus
from typing import Literal

from msgspec import UNSET, Struct, UnsetType, json

MEDIA_TYPE = "application/problem+json"

# Each is stable: a program may rely on it. The words beside it are for people and may change.
ProblemCode = Literal[
    "address_full",  # as many connections of this address as there may be
    "address_too_fast",
    "bad_cursor",
    "bad_parameter",
    "bad_request",
    "cursor_gone",
    "draining",
    "full",  # as many connections as this gateway can serve
    "handshake",
    "head_too_large",
    "host",
    "http_version",
    "internal",  # a bug of ours; `error_id` names it in the log
    "method",
    "no_access",
    "not_found",
    "not_ready",
    "not_secure",
    "not_yet",
    "one_at_a_time",  # another statement of the same user is being read
    "origin",
    "ranges",
    "revoked",
    "subprotocol",
    "target_too_long",
    "token_expired",
    "token_in_url",
    "too_fast",
    "unauthenticated",
    "unavailable",
    "websocket_version",
]


class Problem(Struct, frozen=True):
    type: str
    title: str
    status: int
    code: ProblemCode
    detail: str
    error_id: str | UnsetType = UNSET


def problem(status: HTTPStatus, code: ProblemCode, detail: str, error_id: str | UnsetType = UNSET) -> Problem:
    return Problem("about:blank", status.phrase, status.value, code, detail, error_id)


_encoder = json.Encoder()


def encode(one: Problem) -> bytes:
    return _encoder.encode(one)
