"""A request that is turned away before anyone serves it: the whole answer, and one word for it."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Literal, NamedTuple

from livebalance.gateway.limits.connections import Rejection
from livebalance.wire.problem import MEDIA_TYPE, ProblemCode, encode, problem

NOT_READY_FOR = "5"  # seconds a client is asked to stay away


class Refusal(NamedTuple):
    """`reason` is one of few words, for machines; `words` are for people. Neither holds what was sent."""

    status: HTTPStatus
    reason: ProblemCode
    words: str
    headers: Mapping[str, str] = {}

    def response(self) -> bytes:
        """HTTP/1.1, problem+json; the connection is closed after it."""
        body = encode(problem(self.status, self.reason, self.words))
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": str(len(body)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "connection": "close",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body


def first(*judged: tuple[Refusal, bool]) -> Refusal | None:
    """The first that holds, if one does."""
    return next((refusal for refusal, holds in judged if holds), None)


def of_away(why: str) -> Refusal:
    """What this gateway would show is not to be had now: another one may do better."""
    word: Literal["draining", "not_ready"] = "draining" if why == "draining" else "not_ready"
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, word, why, {"retry-after": NOT_READY_FOR})


def of_turned(turned: Rejection) -> Refusal:
    """Away, for a while: there are too many, or they come too fast."""
    status = HTTPStatus.TOO_MANY_REQUESTS if turned.by_address else HTTPStatus.SERVICE_UNAVAILABLE
    words = "too many connections, or too fast"
    return Refusal(status, turned.why, words, {"retry-after": str(ceil(turned.seconds))})
