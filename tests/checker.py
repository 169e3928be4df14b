"""The checker of a client's log: every frame received, in order, across connections.

Written apart from the client's own state, so that it can convict it: from_n = to_(n-1) with no gap and no
repeat (or a snapshot with its reason), nothing invented, no step back inside an epoch.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from livebalance.wire.frame import DeltaFrame, Gap, ServerFrame, Snapshot, Unsubscribed
from livebalance.wire.money import parse_money
from livebalance.wire.views import BalanceView, TransferView


class Violation(AssertionError):  # noqa: N818 - it is the thing found, as the word says
    """The first frame that broke the chain, and how."""


@dataclass
class ClientLog:
    """What a log says of one account; `transfers` in order. `gaps` are those that snapshots named."""

    epoch: str
    revision: int
    balance: BalanceView | None
    transfers: list[TransferView] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def add(self, transfers: list[TransferView], frame: Snapshot | DeltaFrame) -> None:
        for transfer in transfers:
            if transfer.id in self.ids:
                raise Violation(f"{transfer.id} again: {frame}")
            self.ids.add(transfer.id)
            self.transfers.append(transfer)


def replay(frames: Iterable[ServerFrame], before: dict[str, ClientLog] | None = None) -> dict[str, ClientLog]:
    """The ledger of each channel at the end of the log, going on from those `before`. Raises Violation."""
    ledgers = {} if before is None else before
    for frame in frames:
        if isinstance(frame, Snapshot):
            ledgers[frame.channel] = _snapshot(ledgers.get(frame.channel), frame)
        elif isinstance(frame, DeltaFrame):
            _delta(ledgers.get(frame.channel), frame)
        elif isinstance(frame, Unsubscribed):
            ledgers.pop(frame.channel, None)
    return ledgers


def _snapshot(held: ClientLog | None, frame: Snapshot) -> ClientLog:
    shown = frame.transfers[::-1]
    fresh = ClientLog(frame.epoch, frame.revision, frame.balance)
    fresh.add(shown, frame)
    _grows(frame, shown, -1, frame.revision)
    _adds_up(frame, fresh)
    if held is None or held.epoch != frame.epoch or frame.reason == "ahead":
        return fresh
    if frame.revision < held.revision:
        raise Violation(f"goes back from {held.revision}: {frame}")
    if not isinstance(frame.gap, Gap):
        raise Violation(f"again a whole state after {held.revision}, and no gap is named: {frame}")
    new = [transfer for transfer in shown if transfer.revision > held.revision]
    held.revision, held.balance, held.gaps = frame.revision, frame.balance, [*held.gaps, frame.gap]
    held.add(new, frame)
    return held


def _delta(held: ClientLog | None, frame: DeltaFrame) -> None:
    if held is None or (held.epoch, held.revision) != (frame.epoch, frame.from_):
        raise Violation(f"does not follow {held and (held.epoch, held.revision)}: {frame}")
    _grows(frame, frame.transfers, frame.from_, frame.to)
    if not frame.from_ < frame.to:
        raise Violation(f"does not grow: {frame}")
    _sums(frame, held.transfers[-1:] + frame.transfers)
    held.revision = frame.to
    held.add(frame.transfers, frame)
    if isinstance(frame.balance, BalanceView) or frame.balance is None:
        held.balance = frame.balance
    _adds_up(frame, held)


def _grows(frame: Snapshot | DeltaFrame, transfers: list[TransferView], after: int, upto: int) -> None:
    revisions = [after, *(t.revision for t in transfers)]
    if any(a >= b for a, b in pairwise(revisions)) or revisions[-1] > upto:
        raise Violation(f"revisions are not in order within ({after}, {upto}]: {frame}")
    if isinstance(frame, Snapshot):
        _sums(frame, transfers)


def _sums(frame: Snapshot | DeltaFrame, transfers: list[TransferView]) -> None:
    for one, two in pairwise(transfers):
        if not parse_money(two.total).same_value(parse_money(one.total).add(parse_money(two.amount))):
            raise Violation(f"total of {two.id} is not the sum: {frame}")


def _adds_up(frame: Snapshot | DeltaFrame, held: ClientLog) -> None:
    """A verified balance is opening + the total of the transfer it names (+ drift)."""
    balance = held.balance
    if balance is None or balance.opening is None or balance.drift is None:
        return
    named = next((t for t in reversed(held.transfers) if t.id == balance.transfer_id), None)
    if named is None:
        return  # opened only, or older than this log
    expected = parse_money(balance.opening).add(parse_money(named.total)).add(parse_money(balance.drift))
    if not expected.same_value(parse_money(balance.amount)):
        raise Violation(f"balance is not opening + total: {frame}")
