"""The Python client: `Client` for asyncio, `SyncClient` for programs without an event loop.

The types of all events and their values are here too. `session.Session` decides as a pure state machine.
"""

from livebalance.client.account import Account, MissedRevisions
from livebalance.client.account_set import AccountSet, SetChanged, SetEnded
from livebalance.client.client import Client, TokenProvider
from livebalance.client.event import Changed, Connected, Disconnected, Ended, Event
from livebalance.client.read import ReadError
from livebalance.client.sync import SyncClient
from livebalance.wire.frame import AuthExpiring, DeltaFrame, Error, Gap, Goaway, Heartbeat, Snapshot, Status
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, SetName
from livebalance.wire.views import BalanceView, MemberView, TotalView, TransferView

__all__ = [
    "Account",
    "AccountId",
    "AccountSet",
    "AuthExpiring",
    "BalanceView",
    "Changed",
    "Client",
    "Connected",
    "DeltaFrame",
    "Disconnected",
    "Ended",
    "Epoch",
    "Error",
    "Event",
    "Gap",
    "Goaway",
    "Heartbeat",
    "MemberView",
    "MissedRevisions",
    "Position",
    "ReadError",
    "Revision",
    "SetChanged",
    "SetEnded",
    "SetName",
    "Snapshot",
    "Status",
    "SyncClient",
    "TokenProvider",
    "TotalView",
    "TransferView",
]
