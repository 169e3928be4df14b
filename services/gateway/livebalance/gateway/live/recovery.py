"""Recovery: the frame that brings a client up to date from its position (docs/guarantees.md#recovery)."""

from typing import NamedTuple

from msgspec import UNSET

from livebalance.gateway.live.outbox import Frame, SessionEvent
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.delta import DeltaParts, encode_delta_frame
from livebalance.wire.frame import Gap, Snapshot, SnapshotReason, Unsubscribed, encode_frame
from livebalance.wire.identity import (
    INITIAL_REVISION,
    AccountId,
    Epoch,
    Lane,
    Position,
    Revision,
    channel_name,
)
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import balance_json, transfers_json

# The position of clients whose content Postgres does not have. No epoch equals its epoch, so that a read from
# it returns the whole state.
DISOWNED = Position(Epoch(""), INITIAL_REVISION)


class Recovery(NamedTuple):
    """The answer to all clients that asked from the same position."""

    current: Position  # of the account in Postgres, when it was read
    reached: Position  # of a client after the frame; behind `current` if more pages follow
    frame: Frame | None  # None: the client misses nothing
    lane: Lane | None
    as_of: Millis | None


def recover(query: AccountQuery, state: AccountState) -> Recovery:
    """Returns the recovery of a client at `query.after` from the state that was read for it."""
    current = Position(state.epoch, state.revision)
    if state.erased and _is_behind(query.after, current):
        return _recovery(state, current, erased_frame(query.account, query.after, current))
    if not state.continues or query.after is None:
        whole = snapshot(query, state)
        event = SessionEvent("snapshot", "content" if query.after == DISOWNED else whole.reason)
        frame = Frame(query.account, query.after, current, encode_frame(whole), event=event)
        return _recovery(state, current, frame)
    if query.after == current:
        return _recovery(state, current, None)
    reached = Position(state.epoch, state.transfers[-1].revision) if state.more else current
    return _recovery(state, reached, _page(query.account, query.after, reached, state))


def _recovery(state: AccountState, reached: Position, frame: Frame | None) -> Recovery:
    return Recovery(Position(state.epoch, state.revision), reached, frame, state.lane, state.as_of)


def _is_behind(position: Position | None, current: Position) -> bool:
    if position is None or position == DISOWNED:
        return position is not None
    return position.epoch == current.epoch and position.revision < current.revision


def erased_frame(account: AccountId, before: Position | None, after: Position) -> Frame:
    """Returns the last frame of an account, which was erased."""
    text = encode_frame(Unsubscribed(channel_name(account), "gone", "this account was erased"))
    return Frame(account, before, after, text, is_last=True, event=SessionEvent("unsubscribed", "gone"))


def _page(account: AccountId, before: Position, after: Position, state: AccountState) -> Frame:
    parts = DeltaParts(
        epoch=state.epoch,
        from_=before.revision,
        to=after.revision,
        recorded_at=state.recorded_at,
        balance=b"" if state.more else balance_json(state.balance),
        transfers=transfers_json(state.transfers),
    )
    text = encode_delta_frame(account, parts, more=state.more)
    return Frame(account, before, after, text, mergeable=not state.more)


def snapshot(query: AccountQuery, state: AccountState) -> Snapshot:
    """Returns the snapshot of the account, with the reason why a client at `query.after` gets it."""
    reason = _reason(query.after, state)
    gap = Gap(query.after.revision if query.after else INITIAL_REVISION, state.revision)
    return Snapshot(
        channel=channel_name(query.account),
        epoch=state.epoch,
        revision=Revision(state.revision),
        reason=reason,
        balance=state.balance,
        transfers=state.transfers,
        cursor=encode_cursor(query.account, state.transfers[-1].id) if state.more else None,
        as_of=None if state.as_of is None else format_rfc3339(state.as_of),
        gap=gap if reason == "too_far" else UNSET,
    )


def _reason(position: Position | None, state: AccountState) -> SnapshotReason:
    if position is None:
        return "subscribed"
    if position == DISOWNED:
        return "ahead"  # what a client of any release answers by replacing its state
    if position.epoch != state.epoch:
        return "epoch"
    # A client keeps what it shows after `too_far`, and replaces it after `ahead`.
    is_replaced = position.revision > state.revision or position.revision < state.erased_revision
    return "ahead" if is_replaced else "too_far"
