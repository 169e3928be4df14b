"""A simulated client that also follows sets, and what it shows of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from livebalance.gateway.live.session import Session
from livebalance.wire.frame import (
    Error,
    Heartbeat,
    Ok,
    SetDelta,
    SetSnapshot,
    Unsubscribed,
    decode_server_frame,
)
from livebalance.wire.identity import AccountId, Epoch, Lane, SetName, parse_set
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView, TotalView
from tests.simulation.gateway.client import Client, milliseconds
from tests.simulation.projection import Projection


@dataclass
class SetScreen:
    """What a client shows of a set. Frames before the `ok` of its request belong to an earlier request."""

    request: int | None
    number: int | None = None
    epoch: Epoch | None = None
    lanes: dict[Lane, int] = field(default_factory=dict)
    members: dict[AccountId, MemberView] = field(default_factory=dict)
    totals: list[TotalView] = field(default_factory=list)
    complete: bool = False
    totals_known: bool = False  # since the client subscribed

    def apply(self, frame: SetSnapshot | SetDelta) -> None:
        if isinstance(frame, SetSnapshot):
            assert (self.number is None) == (frame.reason == "subscribed") or frame.reason == "replaced"
            self.members, self.lanes = {}, {}
        else:
            assert self.number == frame.from_, "frames of a set must chain"
            for account in frame.left:
                self.members.pop(account, None)
        self.members.update({member.account: member for member in frame.members})
        self.number, self.epoch, self.complete = frame.to, Epoch(frame.epoch), not frame.more
        if not frame.more:
            assert isinstance(frame.totals, list)
            assert isinstance(frame.lanes, dict)
            self.totals, self.totals_known = frame.totals, True
            self.lanes.update({Lane(int(lane)): number for lane, number in frame.lanes.items()})


def total_of(members: Iterable[MemberView]) -> list[TotalView]:
    """Returns what SQL sums up and counts. The amounts of the simulation have no decimals."""
    amounts = [int(member.amount) for member in members]
    return [TotalView("EUR", str(sum(amounts)), len(amounts))] if amounts else []


class SetClient(Client):
    """A client that also subscribes to sets."""

    def __init__(self, session: Session, subject: str, projection: Projection, expires_at: float) -> None:
        super().__init__(session, subject, projection, expires_at)
        self.sets: dict[SetName, SetScreen] = {}
        self.set_heartbeats: list[tuple[Millis, dict[SetName, tuple[Epoch, dict[Lane, int]] | None]]] = []

    def read(self) -> bool:
        if not self.wire:
            return False
        frame = decode_server_frame(self.wire[0])
        if isinstance(frame, SetSnapshot | SetDelta):
            screen = self.sets.get(_name(frame.channel))
            if screen and screen.request is None:
                screen.apply(frame)
        elif isinstance(frame, Error | Unsubscribed) and (name := _name_of_channel(frame.channel)):
            assert isinstance(frame, Unsubscribed) or frame.temporary
            screen = self.sets.get(name)
            if screen and (screen.request is None or isinstance(frame, Error)):
                assert isinstance(frame, Error) or (frame.code == "revoked" and self.revoked)
                del self.sets[name]
        else:
            if isinstance(frame, Ok):
                for screen in self.sets.values():
                    screen.request = None if screen.request == frame.id else screen.request
            elif isinstance(frame, Heartbeat) and frame.as_of:
                unshown = [name for name, screen in self.sets.items() if not screen.totals_known]
                assert all(self.sets[name].request for name in unshown), "a heartbeat covers an unknown set"
                self.set_heartbeats.append((milliseconds(frame.as_of), self._shown_sets()))
            return super().read()
        self.wire.popleft()
        return True

    def _shown_sets(self) -> dict[SetName, tuple[Epoch, dict[Lane, int]] | None]:
        return {
            name: (screen.epoch, dict(screen.lanes)) if screen.epoch and screen.complete else None
            for name, screen in self.sets.items()
            if screen.request is None
        }


def _name(channel: str) -> SetName:
    name = parse_set(channel)
    assert name
    return name


def _name_of_channel(channel: object) -> SetName | None:
    return parse_set(channel) if isinstance(channel, str) else None
