"""Sessions in each state, and what their effects say."""

import json
from typing import Any

from livebalance.client.effects import (
    Effect,
    Emit,
    Received,
    Send,
    Tick,
)
from livebalance.client.session import Session
from livebalance.wire.frame import (
    Ok,
    ServerFrame,
    encode_frame,
)
from livebalance.wire.identity import AccountId
from tests.unit.client.frames import ACCOUNT, CHANNEL, EPOCH, snapshot, welcome

FIRST_URL, SECOND_URL = "ws://one/ws", "ws://two/ws"
NOW = 100.0


def receive(session: Session, frame: ServerFrame, now: float = NOW, jitter: float = 0.5) -> list[Effect]:
    return session.step(Received(encode_frame(frame)), now, jitter)


def opened(*accounts: str) -> Session:
    """A session that received `welcome` and has subscribed to these accounts."""
    session = Session([FIRST_URL, SECOND_URL])
    for account in accounts:
        session.follow(AccountId(account))
    session.step(Tick(), NOW, 0.5)
    receive(session, welcome())
    return session


def live() -> Session:
    """A session that has ACCOUNT at revision 2."""
    session = opened(ACCOUNT)
    receive(session, snapshot(2))
    receive(session, Ok(1))
    return session


def sent(effects: list[Effect]) -> list[dict[str, Any]]:
    return [json.loads(effect.text) for effect in effects if isinstance(effect, Send)]


def events(effects: list[Effect]) -> list[Any]:
    return [effect.event for effect in effects if isinstance(effect, Emit)]


def next_effect(session: Session) -> float:
    """Time of the next effect without further input. A deadline may be too early and have no effect."""
    for _ in range(9):
        deadline = session.deadline
        if session.step(Tick(), deadline, 0.5):
            return deadline
    raise AssertionError("ticks at the deadline have no effect")


def subscribe(id_: int, revision: int | None) -> dict[str, Any]:
    position = {} if revision is None else {"position": {"epoch": EPOCH, "revision": revision}}
    return {"type": "subscribe", "id": id_, "channels": [{"channel": CHANNEL, **position}]}


def encode_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
