"""Channels in each state, and deltas and answers for them."""

from livebalance.gateway.live.channel import Channel, StoredPosition
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.recovery import Recovery
from livebalance.wire.delta import Delta, DeltaParts, encode_delta_frame
from livebalance.wire.identity import Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis
from tests.unit.gateway.harness import ALICE, EPOCH

OTHER_EPOCH = Epoch("00000000000000b2")
LANE = Lane(4)


def at(revision: int, epoch: Epoch = EPOCH) -> Position:
    return Position(epoch, Revision(revision))


def delta(from_: int, to: int, epoch: Epoch = EPOCH, text: bytes = b"x", header_only: bool = False) -> Delta:
    return Delta(LANE, at(from_, epoch), at(to, epoch), text, header_only)


def text(from_: int, to: int, balance: bytes = b"") -> bytes:
    """The text of a delta without transfers."""
    parts = DeltaParts(EPOCH, Revision(from_), Revision(to), Millis(0), balance, b"")
    return encode_delta_frame(ALICE, parts)


def frame(from_: int, to: int, epoch: Epoch = EPOCH, text: bytes = b"x") -> Frame:
    """The frame of `delta`."""
    return Frame(ALICE, at(from_, epoch), at(to, epoch), text, mergeable=bool(text))


def recovery(
    current: Position, reached: Position | None = None, frame: Frame | None = None, as_of: int | None = 1000
) -> Recovery:
    return Recovery(current, reached or current, frame, LANE, None if as_of is None else Millis(as_of))


def reading(*positions: Position | None) -> Channel:
    """A channel that reads for clients at these positions."""
    channel = Channel(ALICE, 5.0)
    channel.subscribed = True
    for position in positions or (None,):
        channel.request_read(position)
    assert channel.begin_read() == frozenset(positions or (None,))
    return channel


def channel_at(revision: int) -> Channel:
    """A channel that has read this revision, which is complete as of 1000 ms."""
    channel = reading()
    channel.on_read({None: recovery(at(revision))}, 7.0)
    assert not channel.has_gap
    return channel


def gap(channel: Channel) -> str | None:
    """Returns why the channel has a gap, and that it is read from its position."""
    if not channel.has_gap:
        assert channel.uncounted_gap is None
        return None
    assert channel.position in channel._requested
    return channel.uncounted_gap


def stored(revision: int, as_of: int | None, seen_at: float = 8.0) -> StoredPosition:
    return StoredPosition(at(revision), None if as_of is None else Millis(as_of), seen_at)
