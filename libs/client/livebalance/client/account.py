"""The state of an account that a client follows, and how a frame changes it."""

from typing import NamedTuple

from msgspec import UNSET

from livebalance.wire.frame import DeltaFrame, Gap, Snapshot
from livebalance.wire.identity import AccountId, Epoch, Position, Revision, channel_account
from livebalance.wire.views import BalanceView, TransferView

MAX_TRANSFERS = 500  # newest transfers kept per account; each event also contains its whole frame


class Account(NamedTuple):
    """State of an account at `position`; `transfers` in the account's order, the newest last.

    While pages of a recovery arrive, `transfers` may be ahead of `balance`, which has a revision of its own.
    """

    account: AccountId
    position: Position
    balance: BalanceView | None = None
    transfers: tuple[TransferView, ...] = ()


class MissedRevisions(NamedTuple):
    """A frame does not apply to the client's state: revisions before the frame are missing, or it goes back.

    `position` is the client's position, None without a state. The other fields are those of the frame.
    """

    account: AccountId
    position: Position | None
    epoch: Epoch
    from_: Revision
    to: Revision


class AlreadyApplied(NamedTuple):
    """The state already contains the change of a frame."""

    account: AccountId


def apply(
    current: Account | None, frame: Snapshot | DeltaFrame
) -> Account | MissedRevisions | AlreadyApplied:
    """Returns the state after `frame`, decided by positions alone (docs/guarantees.md#the-guarantees, G3).

    A delta applies only to a state at its `from`. Within an epoch a state never goes back, and a snapshot
    that skips revisions must name the gap. A snapshot with the reason `ahead` replaces any state: Postgres is
    behind the state, or the account was erased since.

    Raises:
        DecodeError: The frame's channel is not the channel of an account.
    """
    return _apply_snapshot(current, frame) if isinstance(frame, Snapshot) else _apply_delta(current, frame)


def _apply_snapshot(current: Account | None, frame: Snapshot) -> Account | MissedRevisions | AlreadyApplied:
    account, position = channel_account(frame.channel), Position(Epoch(frame.epoch), frame.revision)
    if current and current.position.epoch == position.epoch and frame.reason != "ahead":
        if current.position == position:
            return AlreadyApplied(account)
        if not (isinstance(frame.gap, Gap) and current.position.revision < position.revision):
            return MissedRevisions(
                account, current.position, position.epoch, position.revision, position.revision
            )
    return Account(account, position, frame.balance, tuple(reversed(frame.transfers)))


def _apply_delta(current: Account | None, frame: DeltaFrame) -> Account | MissedRevisions | AlreadyApplied:
    account, epoch = channel_account(frame.channel), Epoch(frame.epoch)
    if current and current.position.epoch == epoch:
        if frame.to <= current.position.revision:
            return AlreadyApplied(account)
        if frame.from_ == current.position.revision:
            return _apply_next(current, frame)
    return MissedRevisions(account, current.position if current else None, epoch, frame.from_, frame.to)


def _apply_next(current: Account, frame: DeltaFrame) -> Account:
    return current._replace(
        position=Position(current.position.epoch, frame.to),
        balance=current.balance if frame.balance is UNSET else frame.balance,
        transfers=(current.transfers + tuple(frame.transfers))[-MAX_TRANSFERS:],
    )
