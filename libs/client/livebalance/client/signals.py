"""What goes into the session's machine, and what comes out of it to be done."""

from typing import NamedTuple

from livebalance.client.event import Event

# --- what happened


class Received(NamedTuple):
    text: str | bytes


class Lost(NamedTuple):
    """The connection closed, broke, or could not be made (code 1006)."""

    code: int
    reason: str


class Tick(NamedTuple):
    """Time passed; a tick too early changes nothing."""


class Stop(NamedTuple):
    pass


Input = Received | Lost | Tick | Stop

# --- what is to be done


class Connect(NamedTuple):
    url: str


class Send(NamedTuple):
    text: bytes


class Close(NamedTuple):
    """Close the connection; abort it without a word when the other side is silent."""

    code: int
    abort: bool = False


class Emit(NamedTuple):
    event: Event


Effect = Connect | Send | Close | Emit
