"""Inputs and effects of the session's state machine."""

from typing import NamedTuple

from livebalance.client.event import Event

# --- inputs


class Received(NamedTuple):
    """A text frame arrived."""

    text: str | bytes


class ConnectionLost(NamedTuple):
    """The connection was closed, broke, or could not be opened (code 1006)."""

    code: int
    reason: str


class Tick(NamedTuple):
    """Time has passed; a tick that is too early changes nothing."""


class TokenFetched(NamedTuple):
    """A new token, for the connection that asked for a refresh."""

    token: str


class Stop(NamedTuple):
    """The user stops the client."""


Input = Received | ConnectionLost | Tick | TokenFetched | Stop

# --- effects


class OpenSocket(NamedTuple):
    """Connect, and send `auth` if the client has a token."""

    url: str


class Send(NamedTuple):
    """Send a text frame."""

    text: bytes


class CloseSocket(NamedTuple):
    """Close the connection with `code`; with `abort` without a close frame, because the gateway is silent."""

    code: int
    abort: bool = False


class FetchToken(NamedTuple):
    """Get a new token, because the connection's token ends soon."""


class Emit(NamedTuple):
    """Hand an event to the user."""

    event: Event


Effect = OpenSocket | Send | CloseSocket | FetchToken | Emit
