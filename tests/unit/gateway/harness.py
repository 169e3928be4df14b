"""Sessions, messages and account states for tests of the pure core."""

from typing import Any

from msgspec import json

from livebalance.gateway.auth.rights import Rights, parse_scope
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import SessionConfig, Sessions
from livebalance.readmodel.gateway_reads import AccountState
from livebalance.wire.frame import Limits
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Epoch, Lane, Revision
from livebalance.wire.timestamp import Millis

WALL = Millis(1_795_000_000_000)
EPOCH = Epoch("00000000000000a1")
ALICE = AccountId("alice")
CONFIG = SessionConfig("gateway-1", "1.0", 10_000, Limits(16384, 128, 10_000), 1000)


def pop_frames(session: Session) -> list[dict[str, Any]]:
    """Removes and decodes what waits in the session's outbox."""
    frames = session.outbox.pop(0.0)
    return [json.decode(frame if isinstance(frame, bytes) else frame.text) for frame in frames]


def pop_types(session: Session) -> list[str]:
    return [frame["type"] for frame in pop_frames(session)]


def subscribe(*accounts: str, revision: int | None = None, patches: bool = False) -> bytes:
    position = {} if revision is None else {"position": {"epoch": EPOCH, "revision": revision}}
    channels = [{"channel": f"account:{account}", **position} for account in accounts]
    features = {"features": ["patches"]} if patches else {}
    return json.encode({"type": "subscribe", "id": 1, "channels": channels, **features})


def unsubscribe(*accounts: str) -> bytes:
    channels = [f"account:{account}" for account in accounts]
    return json.encode({"type": "unsubscribe", "id": 2, "channels": channels})


def account_state(revision: int = 1) -> AccountState:
    """The state of an account without balance and transfers."""
    return AccountState(
        EPOCH, Revision(revision), Lane(0), WALL, WALL, None, [], False, False, False, INITIAL_REVISION
    )


def rights(subject: str) -> Rights:
    """Rights for all accounts, for an hour."""
    expires = Millis(WALL + 3_600_000)
    return Rights(subject, f"login of {subject}", parse_scope(["*"]), WALL // 1000, expires)


def connect(
    sessions: Sessions, name: str = "s", address: str = "10.0.0.1", now: float = 0.0, jitter: float = 0.0
) -> Session:
    """Connects a client with rights for all accounts, as a user of its own name."""
    session = sessions.connect(name, address, now, jitter)
    sessions.authorize(session, None, rights(f"user of {name}"), now, WALL)
    return session


def connect_and_subscribe(sessions: Sessions, *accounts: str, patches: bool = False) -> Session:
    """Connects a client, drops its welcome, and subscribes it."""
    session = connect(sessions)
    pop_frames(session)
    sessions.receive(session, subscribe(*accounts, patches=patches), 0.0)
    return session
