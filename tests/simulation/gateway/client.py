"""A client of the simulated gateway: it reads frames, checks that they chain, and shows accounts."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

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
from tests.simulation.projection import RECOVERY_MAX_REVISIONS


@dataclass
class Screen:
    """What a client shows of an account. Every frame after the `ok` of its request must chain."""

    position: Position | None
    transfers: list[TransferView] = field(default_factory=list)  # oldest first
    balance: BalanceView | None = None
    request: int | None = None  # without an `ok` yet: frames before the `ok` belong to an earlier request

    def apply(self, frame: Snapshot | DeltaFrame) -> None:
        if isinstance(frame, Snapshot):
            self._check_reason(frame)
            self.transfers, self.balance = frame.transfers[::-1], frame.balance
            self.position = Position(Epoch(frame.epoch), frame.revision)
            return
        assert self.position == Position(Epoch(frame.epoch), frame.from_), "frames must chain"
        self.transfers = self.transfers + frame.transfers
        if not frame.more:
            assert isinstance(frame.balance, BalanceView | None)
            self.balance = frame.balance
        self.position = Position(Epoch(frame.epoch), frame.to)

    def _check_reason(self, frame: Snapshot) -> None:
        """Checks that the snapshot's reason is true. Only for some reasons may transfers be left out."""
        if frame.reason == "subscribed":
            assert self.position is None
        elif frame.reason == "epoch":
            assert self.position is not None
            assert self.position.epoch != frame.epoch
        elif frame.reason == "too_far":
            assert frame.gap
            assert self.position == Position(Epoch(frame.epoch), frame.gap.from_)
            assert frame.gap.to == frame.revision > frame.gap.from_ + RECOVERY_MAX_REVISIONS
        else:
            assert self.position is not None
            assert self.position.revision > frame.revision


class Client:
    """One connection. `wire` holds the texts that its transport took and the client has not read yet."""

    def __init__(self, session: Session, subject: str) -> None:
        self.session = session
        self.subject = subject
        self.revoked: set[AccountId] = set()
        self.wire: deque[bytes] = deque()
        self.screens: dict[AccountId, Screen] = {}
        # The `as_of` of each heartbeat, with the positions that were shown when it was read.
        self.heartbeats: list[tuple[Millis, dict[AccountId, Position | None]]] = []
        self.interval = 0.0  # seconds: the client asked for data no more often
        self.written_at = float("-inf")  # seconds: data was written last
        self._requests = 0

    def next_request(self) -> int:
        self._requests += 1
        return self._requests

    def read(self) -> bool:
        """Reads the next frame. Returns False if there is none."""
        if not self.wire:
            return False
        frame = decode_server_frame(self.wire.popleft())
        assert frame
        if isinstance(frame, Ok):
            for screen in self.screens.values():
                screen.request = None if screen.request == frame.id else screen.request
        elif isinstance(frame, Snapshot | DeltaFrame):
            shown = self.screens.get(channel_account(frame.channel))
            if shown and shown.request is None:
                shown.apply(frame)
        elif isinstance(frame, Heartbeat) and frame.as_of:
            positions = {
                account: screen.position for account, screen in self.screens.items() if screen.request is None
            }
            self.heartbeats.append((_millis(frame.as_of), positions))
        elif isinstance(frame, Error):
            assert isinstance(frame.channel, str)
            account = channel_account(frame.channel)
            assert frame.temporary or (frame.code == "no_access" and account in self.revoked)
            self.screens.pop(account, None)
        elif isinstance(frame, Unsubscribed):
            assert frame.code == "revoked"
            self.screens.pop(channel_account(frame.channel), None)
        return True


def _millis(text: str) -> Millis:
    return Millis(round(datetime.fromisoformat(text).timestamp() * 1000))
