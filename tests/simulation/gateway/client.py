"""A client of the gateway in a world that a test steers: what it reads, and what it shows."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import json

from livebalance.gateway.live.session import Session
from livebalance.wire.frame import (
    DeltaFrame,
    Error,
    Heartbeat,
    Ok,
    Snapshot,
    Unsubscribed,
    decode_server_frame,
)
from livebalance.wire.identity import AccountId, Epoch, Position, channel_account
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView
from tests.simulation.truth import RESUME_MAX


@dataclass
class Screen:
    """What one client shows of one account. After the answer to its question every frame must chain."""

    position: Position | None
    transfers: list[TransferView] = field(default_factory=list)  # oldest first
    balance: BalanceView | None = None
    asked: int | None = None  # the question that has no ok yet: frames before it are of the time before

    def take(self, frame: Snapshot | DeltaFrame) -> None:
        if isinstance(frame, Snapshot):
            self._agrees(frame)
            self.transfers, self.balance = frame.transfers[::-1], frame.balance
            self.position = Position(Epoch(frame.epoch), frame.revision)
            return
        assert self.position == Position(Epoch(frame.epoch), frame.from_), "frames must chain"
        self.transfers = self.transfers + frame.transfers
        if not frame.more:
            assert isinstance(frame.balance, BalanceView | None)
            self.balance = frame.balance
        self.position = Position(Epoch(frame.epoch), frame.to)

    def _agrees(self, frame: Snapshot) -> None:
        """A snapshot says why it comes, and only for such a reason may something be left out."""
        if frame.reason == "subscribed":
            assert self.position is None
        elif frame.reason == "epoch":
            assert self.position is not None
            assert self.position.epoch != frame.epoch
        elif frame.reason == "too_far":
            assert frame.gap
            assert self.position == Position(Epoch(frame.epoch), frame.gap.from_)
            assert frame.gap.to == frame.revision > frame.gap.from_ + RESUME_MAX
        else:
            assert self.position is not None
            assert self.position.revision > frame.revision


class Client:
    """One socket. `wire` holds the texts that the transport took and the client has not read yet."""

    def __init__(self, session: Session, subject: str) -> None:
        self.session = session
        self.subject = subject
        self.taken_back: set[AccountId] = set()
        self.wire: deque[bytes] = deque()
        self.screens: dict[AccountId, Screen] = {}
        self.claims: list[tuple[Millis, dict[AccountId, Position | None]]] = []
        self.refused = 0
        self.period = 0.0  # it wants data no more often
        self.written = float("-inf")  # s; data, the last time
        self._requests = 0

    def next_request(self) -> int:
        self._requests += 1
        return self._requests

    def read(self) -> bool:
        """The next frame, if there is one."""
        frame = self._next()
        if isinstance(frame, Ok):
            for one in self.screens.values():
                one.asked = None if one.asked == frame.id else one.asked
        elif isinstance(frame, Snapshot | DeltaFrame):
            screen = self.screens.get(channel_account(frame.channel))
            if screen and screen.asked is None:
                screen.take(frame)
        elif isinstance(frame, Heartbeat) and frame.as_of:
            shown = {account: one.position for account, one in self.screens.items() if one.asked is None}
            self.claims.append((_millis(frame.as_of), shown))
        elif isinstance(frame, Error):
            assert isinstance(frame.channel, str)
            account = channel_account(frame.channel)
            assert frame.temporary or (frame.code == "no_access" and account in self.taken_back)
            self.refused += 1
            self.screens.pop(account, None)
        elif isinstance(frame, Unsubscribed):
            assert frame.code == "revoked"
            self.screens.pop(channel_account(frame.channel), None)
        return frame is not None

    def _next(self) -> Any:
        if not self.wire:
            return None
        text = self.wire.popleft()
        assert json.decode(text)["type"]
        return decode_server_frame(text)


def _millis(text: str) -> Millis:
    return Millis(round(datetime.fromisoformat(text).timestamp() * 1000))
