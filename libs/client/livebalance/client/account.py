"""One followed account: its state at a position, and how a frame makes the next state of it."""

from typing import NamedTuple

from msgspec import UNSET

from livebalance.wire.frame import DeltaFrame, Gap, Snapshot
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, channel_account
from livebalance.wire.views import BalanceView, TransferView

KEPT = 500  # transfers held of an account, the newest; every frame is handed on whole, so none is lost by it


class Account(NamedTuple):
    """What is known of an account at `position`; `transfers` in the account's order, the newest last.

    While pages of a catch-up arrive, transfers may be ahead of `balance`, which says its own revision.
    """

    account: AccountId
    position: Position
    balance: BalanceView | None = None
    transfers: tuple[TransferView, ...] = ()


class MissedRevisions(NamedTuple):
    """A frame that does not apply to what is held: something before it is missing (or it goes back)."""

    account: AccountId
    held: Position | None
    epoch: Epoch
    from_: Revision
    to: Revision


class AlreadyApplied(NamedTuple):
    """A frame whose change is held already."""

    account: AccountId


def apply(held: Account | None, frame: Snapshot | DeltaFrame) -> Account | MissedRevisions | AlreadyApplied:
    """The state after `frame`, decided by position alone.

    Rule (design): a delta applies only to a state at its `from`. Inside an epoch a state never goes back, and
    nothing is skipped without a gap that says so, unless the truth itself is behind (`ahead`).
    Raises DecodeError for a channel that is not an account's.
    """
    return _snapshot(held, frame) if isinstance(frame, Snapshot) else _delta(held, frame)


def _snapshot(held: Account | None, frame: Snapshot) -> Account | MissedRevisions | AlreadyApplied:
    account, at = channel_account(frame.channel), Position(Epoch(frame.epoch), frame.revision)
    if held and held.position.epoch == at.epoch and frame.reason != "ahead":
        if held.position == at:
            return AlreadyApplied(account)
        if not (isinstance(frame.gap, Gap) and held.position.revision < at.revision):
            return MissedRevisions(account, held.position, at.epoch, at.revision, at.revision)
    return Account(account, at, frame.balance, tuple(reversed(frame.transfers)))


def _delta(held: Account | None, frame: DeltaFrame) -> Account | MissedRevisions | AlreadyApplied:
    account, epoch = channel_account(frame.channel), Epoch(frame.epoch)
    if held and held.position.epoch == epoch:
        if frame.to <= held.position.revision:
            return AlreadyApplied(account)
        if frame.from_ == held.position.revision:
            return _grown(held, frame)
    return MissedRevisions(account, held.position if held else None, epoch, frame.from_, frame.to)


def _grown(held: Account, frame: DeltaFrame) -> Account:
    return held._replace(
        position=Position(held.position.epoch, frame.to),
        balance=held.balance if frame.balance is UNSET else frame.balance,
        transfers=(held.transfers + tuple(frame.transfers))[-KEPT:],
    )
