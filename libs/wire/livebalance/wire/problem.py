"""Errors of the HTTP API as application/problem+json (RFC 9457). They repeat nothing that the client sent."""

from http import HTTPStatus
from typing import Literal

from msgspec import UNSET, Struct, UnsetType, json

MEDIA_TYPE = "application/problem+json"

# Codes are stable, so that programs can rely on them. The text beside a code is for people and may change.
ProblemCode = Literal[
    "address_full",  # the limit of connections per address is reached
    "address_too_fast",
    "bad_cursor",
    "bad_parameter",
    "bad_request",
    "cursor_gone",
    "draining",
    "full",  # the gateway's limit of connections is reached
    "handshake",
    "head_too_large",
    "host",
    "http_version",
    "internal",  # a bug; `error_id` names the error in the log
    "method",
    "no_access",
    "not_found",
    "not_ready",
    "not_secure",
    "not_yet",
    "one_at_a_time",  # the user is reading another statement
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
    "user_full",  # the limit of requests per user is reached
    "user_too_fast",
    "websocket_version",
]


class Problem(Struct, frozen=True):
    """The fields of RFC 9457 §3.1, with `code` and `error_id` as extensions."""

    type: str
    title: str
    status: int
    code: ProblemCode
    detail: str
    error_id: str | UnsetType = UNSET


def problem(status: HTTPStatus, code: ProblemCode, detail: str, error_id: str | UnsetType = UNSET) -> Problem:
    """Returns the problem for an HTTP status, with the status phrase as its title."""
    return Problem("about:blank", status.phrase, status.value, code, detail, error_id)


_encoder = json.Encoder()


def encode_problem(problem: Problem) -> bytes:
    """Returns the JSON of a problem."""
    return _encoder.encode(problem)
