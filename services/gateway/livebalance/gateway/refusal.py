"""A request that is turned away before anyone serves it: the whole answer, and one word for it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from msgspec import json


class Refusal(NamedTuple):
    """`reason` is one of few words, for machines; `words` are for people. Neither holds what was sent."""

    status: HTTPStatus
    reason: str
    words: str
    headers: Mapping[str, str] = {}

    def response(self) -> bytes:
        """HTTP/1.1, problem+json (RFC 9457); the connection is closed after it."""
        problem = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "code": self.reason,
            "detail": self.words,
        }
        body = json.encode(problem)
        headers = {
            "content-type": "application/problem+json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "connection": "close",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body
