"""A client of the simulated gateway: it reads frames, checks that they chain, and shows accounts."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from livebalance.client.patch import apply_patch
from livebalance.gateway.live.session import Session
from livebalance.wire.frame import (
    DeltaFrame,
    Error,
    Heartbeat,
    Ok,
    Patch,
    Snapshot,
    Unsubscribed,
    decode_server_frame,
)
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, channel_account
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import BalanceView, TransferView
from tests.simulation.projection import RECOVERY_MAX_REVISIONS, Projection


@dataclass
class Screen:
    """What a client shows of an account. Every frame after the `ok` of its request must chain."""

    position: Position | None
    transfers: list[TransferView] = field(default_factory=list)  # oldest first
    balance: BalanceView | None = None
    request: int | None = None  # without an `ok` yet: frames before the `ok` belong to an earlier request
    kept: list[TransferView] = field(default_factory=list)  # from before the gap of a `too_far`

    def apply(self, frame: Snapshot | DeltaFrame, erased_revision: Revision, may_replace: bool) -> None:
        """Applies a frame, at whose revision the last erasure was at `erased_revision`.

        `may_replace`: the gateway may replace any state of the account.
        """
        if isinstance(frame, Snapshot):
            if not (may_replace and frame.reason == "ahead"):
                self._check_reason(frame, erased_revision)
            self.kept = self.kept + self.transfers if frame.reason == "too_far" else []
            self.transfers, self.balance = frame.transfers[::-1], frame.balance
            self.position = Position(Epoch(frame.epoch), frame.revision)
            return
        assert self.position == Position(Epoch(frame.epoch), frame.from_), "frames must chain"
        self.transfers = self.transfers + frame.transfers
        if not frame.more:
            assert isinstance(frame.balance, BalanceView | None)
            self.balance = frame.balance
        self.position = Position(Epoch(frame.epoch), frame.to)

    def _check_reason(self, frame: Snapshot, erased_revision: Revision) -> None:
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
            assert frame.gap.from_ >= erased_revision
        else:
            assert self.position is not None
            assert self.position.revision > frame.revision or self.position.revision < erased_revision


class Client:
    """One connection. `wire` holds the texts that its transport took and the client has not read yet."""

    def __init__(self, session: Session, subject: str, projection: Projection, expires_at: float) -> None:
        self.session = session
        self.projection = projection
        self.subject = subject
        self.expires_at = expires_at  # seconds
        self.revoked: set[AccountId] = set()
        self.wire: deque[bytes] = deque()
        self.screens: dict[AccountId, Screen] = {}
        self.deltas: dict[str, DeltaFrame] = {}  # the last of each channel on this connection
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
        if isinstance(frame, Patch):
            frame = apply_patch(self.deltas.get(frame.channel), frame)
            assert frame, "a patch must follow the last delta"
        if isinstance(frame, Snapshot | DeltaFrame):
            self.deltas.pop(frame.channel, None)
        if isinstance(frame, DeltaFrame):
            self.deltas[frame.channel] = frame
        if isinstance(frame, Ok):
            for screen in self.screens.values():
                screen.request = None if screen.request == frame.id else screen.request
        elif isinstance(frame, Snapshot | DeltaFrame):
            account = channel_account(frame.channel)
            shown = self.screens.get(account)
            if shown and shown.request is None:
                position = Position(Epoch(frame.epoch), _revision(frame))
                history = self.projection.at(position, account)
                # What Postgres lost was sent to the client, or waited for it in the epoch of the frame.
                may_replace = any(
                    self.projection.may_replace(account, at.epoch) for at in (position, shown.position) if at
                )
                shown.apply(frame, history.erased_revision(position.revision), may_replace)
        elif isinstance(frame, Heartbeat) and frame.as_of:
            positions = {
                account: screen.position for account, screen in self.screens.items() if screen.request is None
            }
            self.heartbeats.append((milliseconds(frame.as_of), positions))
        elif isinstance(frame, Error):
            assert isinstance(frame.channel, str)
            account = channel_account(frame.channel)
            assert frame.temporary or (frame.code == "no_access" and account in self.revoked)
            self.screens.pop(account, None)
        elif isinstance(frame, Unsubscribed):
            account = channel_account(frame.channel)
            shown = self.screens.get(account)
            assert frame.code == "revoked" or self.projection.was_erased(account), "nothing was erased"
            if frame.code == "revoked" or (shown and shown.request is None):
                self.screens.pop(account, None)
        return True


def _revision(frame: Snapshot | DeltaFrame) -> Revision:
    return frame.revision if isinstance(frame, Snapshot) else frame.to


def milliseconds(text: str) -> Millis:
    return Millis(round(datetime.fromisoformat(text).timestamp() * 1000))
