"""What goes into the session's machine, and what comes out of it to be done."""

from typing import NamedTuple

from livebalance.client.event import Event

# --- what happened


class Received(NamedTuple):
    text: str | bytes


class ConnectionLost(NamedTuple):
    """The connection closed, broke, or could not be made (code 1006)."""

    code: int
    reason: str


class Tick(NamedTuple):
    """Time passed; a tick too early changes nothing."""


class TokenFetched(NamedTuple):
    """Another token is there, for the connection that asked for one."""

    token: str


class Stop(NamedTuple):
    pass


Input = Received | ConnectionLost | Tick | TokenFetched | Stop

# --- what is to be done


class OpenSocket(NamedTuple):
    """OpenSocket, and say who this is if there is a token."""

    url: str


class Send(NamedTuple):
    text: bytes


class CloseSocket(NamedTuple):
    """Close the connection; abort it without a word when the other side is silent."""

    code: int
    abort: bool = False


class FetchToken(NamedTuple):
    """Get another token: the one of this connection is about to end."""


class Emit(NamedTuple):
    event: Event


Effect = OpenSocket | Send | CloseSocket | FetchToken | Emit
