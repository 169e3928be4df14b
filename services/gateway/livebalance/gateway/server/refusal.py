"""Error responses for requests that are rejected before the ASGI app sees them."""

from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Literal, NamedTuple

from livebalance.gateway.limits.connections import Rejection
from livebalance.wire.problem import MEDIA_TYPE, ProblemCode, encode_problem, problem

NOT_READY_RETRY_AFTER = "5"  # seconds


class Refusal(NamedTuple):
    """An error response: `reason` is a stable code for programs, `detail` a text for people.

    Neither repeats anything that the client sent.
    """

    status: HTTPStatus
    reason: ProblemCode
    detail: str
    headers: Mapping[str, str] = {}

    def response(self) -> bytes:
        """Returns the whole HTTP/1.1 response, with an RFC 9457 body and `connection: close`."""
        body = encode_problem(problem(self.status, self.reason, self.detail))
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


def first_refusal(*checks: tuple[Refusal, bool]) -> Refusal | None:
    """Returns the first refusal whose condition is true, or None."""
    return next((refusal for refusal, applies in checks if applies), None)


def refuse_not_ready(reason: str) -> Refusal:
    """Returns 503 for a gateway that drains or is not ready. Another gateway may accept the client."""
    code: Literal["draining", "not_ready"] = "draining" if reason == "draining" else "not_ready"
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, code, reason, {"retry-after": NOT_READY_RETRY_AFTER})


def refuse_over_limit(rejection: Rejection) -> Refusal:
    """Returns 429 if the client's address is over its limit, 503 if the gateway is."""
    status = HTTPStatus.TOO_MANY_REQUESTS if rejection.is_of_address else HTTPStatus.SERVICE_UNAVAILABLE
    detail = "Too many connections, or too many new connections per second; retry later."
    return Refusal(status, rejection.reason, detail, {"retry-after": str(ceil(rejection.retry_after))})
