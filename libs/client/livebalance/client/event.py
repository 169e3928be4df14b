"""Events that a client hands to its user. Frames that need no interpretation are events themselves."""

from typing import NamedTuple

from livebalance.client.account import Account, MissedRevisions
from livebalance.client.account_set import SetChanged, SetEnded
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
    """The gateway has sent `welcome`. `epoch` is None while Postgres is unavailable."""

    url: str
    gateway: str
    session: str
    epoch: str | None
    limits: Limits


class Disconnected(NamedTuple):
    """The connection ended. `retry_in` is in seconds; None: no reconnect, and this is the last event."""

    code: int
    reason: str
    retry_in: float | None


class Changed(NamedTuple):
    """The new state of an account, and the frame that changed it.

    A snapshot with a `gap` leaves out transfers between the previous state and its own. REST returns them
    (`after_revision`).
    """

    account: Account
    frame: Snapshot | DeltaFrame


class Ended(NamedTuple):
    """The client no longer follows the account: rejected (no_access, limit, ...), erased or revoked."""

    account: AccountId
    code: str
    message: str


Event = (
    Connected
    | Disconnected
    | Changed
    | Ended
    | MissedRevisions
    | SetChanged
    | SetEnded
    | Heartbeat
    | Status
    | Error
    | Goaway
    | AuthExpiring
)
