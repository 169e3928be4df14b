"""The Python client: `Client` for asyncio, `SyncClient` for programs without an event loop.

The types of all events and their values are here too. `session.Session` decides as a pure state machine.
"""

from livebalance.client.account import Account, MissedRevisions
from livebalance.client.client import Client, TokenProvider
from livebalance.client.event import Changed, Connected, Disconnected, Ended, Event
from livebalance.client.read import ReadError
from livebalance.client.sync import SyncClient
from livebalance.wire.frame import AuthExpiring, DeltaFrame, Error, Gap, Goaway, Heartbeat, Snapshot, Status
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from livebalance.wire.views import BalanceView, TransferView

__all__ = [
    "Account",
    "AccountId",
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
    "MissedRevisions",
    "Position",
    "ReadError",
    "Revision",
    "Snapshot",
    "Status",
    "SyncClient",
    "TokenProvider",
    "TransferView",
]
