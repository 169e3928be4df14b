"""Checks a client's log: every frame that it received, in order, across connections.

The checker shares no code with the client's own state, so that it can find the client's faults. Deltas must
follow each other without a gap and without a repeat, and a state may go back only with a snapshot's reason.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from livebalance.wire.frame import DeltaFrame, Gap, ServerFrame, Snapshot, Unsubscribed
from livebalance.wire.money import parse_money
from livebalance.wire.views import BalanceView, TransferView


class Violation(AssertionError):  # noqa: N818 - a finding, not a failure of the checker
    """The first frame that violates a rule, and the rule."""


@dataclass
class ClientLog:
    """Content of a log for an account: `transfers` in order, and the `gaps` that snapshots named."""

    epoch: str
    revision: int
    balance: BalanceView | None
    transfers: list[TransferView] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def add(self, transfers: list[TransferView], frame: Snapshot | DeltaFrame) -> None:
        """Appends the transfers of a frame. Raises Violation if a transfer is repeated."""
        for transfer in transfers:
            if transfer.id in self.ids:
                raise Violation(f"{transfer.id} again: {frame}")
            self.ids.add(transfer.id)
            self.transfers.append(transfer)


def replay(frames: Iterable[ServerFrame], before: dict[str, ClientLog] | None = None) -> dict[str, ClientLog]:
    """Returns the log of each channel after `frames`, continuing from the logs `before`. Raises Violation."""
    logs = {} if before is None else before
    for frame in frames:
        if isinstance(frame, Snapshot):
            logs[frame.channel] = _snapshot(logs.get(frame.channel), frame)
        elif isinstance(frame, DeltaFrame):
            _delta(logs.get(frame.channel), frame)
        elif isinstance(frame, Unsubscribed):
            logs.pop(frame.channel, None)
    return logs


def _snapshot(log: ClientLog | None, frame: Snapshot) -> ClientLog:
    transfers = frame.transfers[::-1]
    fresh = ClientLog(frame.epoch, frame.revision, frame.balance)
    fresh.add(transfers, frame)
    _check_revisions(frame, transfers, -1, frame.revision)
    _check_balance(frame, fresh)
    if log is None or log.epoch != frame.epoch or frame.reason == "ahead":
        return fresh
    if frame.revision < log.revision:
        raise Violation(f"goes back from {log.revision}: {frame}")
    if not isinstance(frame.gap, Gap):
        raise Violation(f"a second snapshot after {log.revision} names no gap: {frame}")
    new = [transfer for transfer in transfers if transfer.revision > log.revision]
    log.revision, log.balance, log.gaps = frame.revision, frame.balance, [*log.gaps, frame.gap]
    log.add(new, frame)
    return log


def _delta(log: ClientLog | None, frame: DeltaFrame) -> None:
    if log is None or (log.epoch, log.revision) != (frame.epoch, frame.from_):
        raise Violation(f"does not follow {log and (log.epoch, log.revision)}: {frame}")
    _check_revisions(frame, frame.transfers, frame.from_, frame.to)
    if not frame.from_ < frame.to:
        raise Violation(f"does not increase the revision: {frame}")
    _check_totals(frame, log.transfers[-1:] + frame.transfers)
    log.revision = frame.to
    log.add(frame.transfers, frame)
    if isinstance(frame.balance, BalanceView) or frame.balance is None:
        log.balance = frame.balance
    _check_balance(frame, log)


def _check_revisions(
    frame: Snapshot | DeltaFrame, transfers: list[TransferView], after: int, upto: int
) -> None:
    revisions = [after, *(transfer.revision for transfer in transfers)]
    if any(a >= b for a, b in pairwise(revisions)) or revisions[-1] > upto:
        raise Violation(f"revisions are not in order within ({after}, {upto}]: {frame}")
    if isinstance(frame, Snapshot):
        _check_totals(frame, transfers)


def _check_totals(frame: Snapshot | DeltaFrame, transfers: list[TransferView]) -> None:
    for previous, current in pairwise(transfers):
        expected = parse_money(previous.total).add(parse_money(current.amount))
        if not parse_money(current.total).same_value(expected):
            raise Violation(f"total of {current.id} is not the sum: {frame}")


def _check_balance(frame: Snapshot | DeltaFrame, log: ClientLog) -> None:
    """Checks that a verified balance equals opening + total of the transfer it names + drift."""
    balance = log.balance
    if balance is None or balance.opening is None or balance.drift is None:
        return
    named = next(
        (transfer for transfer in reversed(log.transfers) if transfer.id == balance.transfer_id), None
    )
    if named is None:
        return  # the balance names no transfer, or a transfer older than this log
    expected = parse_money(balance.opening).add(parse_money(named.total)).add(parse_money(balance.drift))
    if not expected.same_value(parse_money(balance.amount)):
        raise Violation(f"balance is not opening + total: {frame}")
