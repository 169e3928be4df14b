"""Why a client that wants to stay is not let in now, as it is told: the same for a socket and a stream."""

from http import HTTPStatus
from math import ceil
from typing import Literal

from livebalance.gateway.doorman import Turned
from livebalance.gateway.refusal import Refusal

NOT_READY_FOR = "5"  # seconds a client is asked to stay away


def away(why: str) -> Refusal:
    """What this gateway would show is not to be had now: another one may do better."""
    word: Literal["draining", "not_ready"] = "draining" if why == "draining" else "not_ready"
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, word, why, {"retry-after": NOT_READY_FOR})


def crowded(turned: Turned) -> Refusal:
    """There are too many, or they come too fast."""
    status = HTTPStatus.TOO_MANY_REQUESTS if turned.by_address else HTTPStatus.SERVICE_UNAVAILABLE
    words = "too many connections, or too fast"
    return Refusal(status, turned.why, words, {"retry-after": str(ceil(turned.seconds))})
