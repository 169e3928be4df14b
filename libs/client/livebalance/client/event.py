"""What a client tells whoever listens to it. Frames that need no interpretation are told as they came."""

from typing import NamedTuple

from livebalance.client.account import Account, MissedRevisions
from livebalance.wire.frame import (
    AuthExpiring,
    DeltaFrame,
    Error,
    Goaway,
    Heartbeat,
    Limits,
    Snapshot,
    Status,
)
from livebalance.wire.identity import AccountId


class Connected(NamedTuple):
    """Welcomed. `epoch` is the projection's, None while the gateway cannot ask for it."""

    url: str
    gateway: str
    session: str
    epoch: str | None
    limits: Limits


class Disconnected(NamedTuple):
    """The socket is gone. `retry_in` is in seconds; None: the client does not come back, this is the last."""

    code: int
    reason: str
    retry_in: float | None


class Changed(NamedTuple):
    """An account has a new state, and the frame that made it.

    A snapshot with a `gap` leaves out transfers between what was shown and what it shows; REST fills the gap
    by `after_revision`.
    """

    account: Account
    frame: Snapshot | DeltaFrame


class Ended(NamedTuple):
    """The account is no longer followed: refused (no_access, limit, ...), gone or revoked."""

    account: AccountId
    code: str
    message: str


Event = (
    Connected
    | Disconnected
    | Changed
    | Ended
    | MissedRevisions
    | Heartbeat
    | Status
    | Error
    | Goaway
    | AuthExpiring
)
