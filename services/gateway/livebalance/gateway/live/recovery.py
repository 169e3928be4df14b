"""What a read of Postgres means for a reader that has a position, and the one frame that tells it."""

from typing import NamedTuple

from msgspec import UNSET

from livebalance.gateway.live.outbox import Frame, SessionEvent
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from livebalance.wire.cursor import encode_cursor
from livebalance.wire.delta import DeltaParts, encode_delta_frame
from livebalance.wire.frame import Gap, Snapshot, SnapshotReason, Unsubscribed, encode_frame
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Lane, Position, Revision, channel_name
from livebalance.wire.timestamp import Millis, format_rfc3339
from livebalance.wire.views import balance_json, transfers_json


class Recovery(NamedTuple):
    """Shared by every reader that asked with the same position."""

    truth: Position  # of the account when it was read
    at: Position  # of the reader once it has the parcel; before `truth` when more is to be read
    parcel: Frame | None  # None: the reader misses nothing
    lane: Lane | None
    as_of: Millis | None


def recover(asked: AccountQuery, found: AccountState) -> Recovery:
    truth = Position(found.epoch, found.revision)
    if not found.follows or asked.after is None:
        whole = snapshot(asked, found)
        note = SessionEvent("snapshot", whole.reason)
        return _answered(
            found, truth, Frame(asked.account, asked.after, truth, encode_frame(whole), note=note)
        )
    if asked.after == truth:
        return _answered(found, truth, None)
    if found.erased:
        return _answered(found, truth, farewell(asked.account, asked.after, truth))
    at = Position(found.epoch, found.transfers[-1].revision) if found.more else truth
    return _answered(found, at, _page(asked.after, at, asked, found))


def _answered(found: AccountState, at: Position, parcel: Frame | None) -> Recovery:
    return Recovery(Position(found.epoch, found.revision), at, parcel, found.lane, found.as_of)


def farewell(account: AccountId, before: Position, after: Position) -> Frame:
    """For an account that was erased."""
    text = encode_frame(Unsubscribed(channel_name(account), "gone", "this account was erased"))
    return Frame(account, before, after, text, last=True, note=SessionEvent("unsubscribed", "gone"))


def _page(after: Position, at: Position, asked: AccountQuery, found: AccountState) -> Frame:
    parts = DeltaParts(
        epoch=found.epoch,
        from_=after.revision,
        to=at.revision,
        recorded_at=found.recorded_at,
        balance=b"" if found.more else balance_json(found.balance),
        transfers=transfers_json(found.transfers),
    )
    text = encode_delta_frame(asked.account, parts, more=found.more)
    return Frame(asked.account, after, at, text, merges=not found.more)


def snapshot(asked: AccountQuery, found: AccountState) -> Snapshot:
    """The whole state, with the reason why a reader at `asked.after` gets it."""
    reason = _reason(asked.after, found)
    gap = Gap(asked.after.revision if asked.after else INITIAL_REVISION, found.revision)
    return Snapshot(
        channel=channel_name(asked.account),
        epoch=found.epoch,
        revision=Revision(found.revision),
        reason=reason,
        balance=found.balance,
        transfers=found.transfers,
        cursor=encode_cursor(asked.account, found.transfers[-1].id) if found.more else None,
        as_of=None if found.as_of is None else format_rfc3339(found.as_of),
        gap=gap if reason == "too_far" else UNSET,
    )


def _reason(after: Position | None, found: AccountState) -> SnapshotReason:
    if after is None:
        return "subscribed"
    if after.epoch != found.epoch:
        return "epoch"
    return "ahead" if after.revision > found.revision else "too_far"
