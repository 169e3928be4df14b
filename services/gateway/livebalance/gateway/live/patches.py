"""Patches of deltas, for clients that asked for them: made when a delta leaves the outbox (decision 43).

Everything before that works on whole deltas. A patch leaves out only what the client was sent before on the
same connection, and does not depend on the position that a client named.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import DecodeError, Struct, json
from msgspec.structs import replace

from livebalance.gateway.live.outbox import Frame, Source
from livebalance.wire.identity import AccountId

if TYPE_CHECKING:
    from livebalance.gateway.live.subscribers import Subscription

MAX_PATCHES = 256  # that are remembered
MAX_KEPT_BYTES = 4096  # of the last delta of a subscription; the delta after a larger one is sent whole

_Fields = dict[str, str | int | None]  # fields of a later release are kept


class _Delta(Struct, forbid_unknown_fields=True, gc=False, rename={"from_": "from"}):
    """Each field of a delta with a balance, and no other field: a page with `more` is not decoded."""

    type: str
    channel: str
    epoch: str
    from_: int
    to: int
    transfers: list[_Fields]
    recorded_at: str
    balance: _Fields


_decoder = json.Decoder(_Delta)
_encoder = json.Encoder()


def make_patch(last: bytes, text: bytes) -> bytes | None:
    """Returns the patch for the delta `text`, or None if it must be sent whole.

    Args:
        last: The delta that the client was sent before.
        text: The delta that follows.
    """
    try:
        return _make(_decoder.decode(last), _decoder.decode(text))
    except (DecodeError, UnicodeError, OverflowError):  # not what a projector publishes
        return None


def _make(before: _Delta, delta: _Delta) -> bytes | None:
    if (before.epoch, before.to) != (delta.epoch, delta.from_):
        return None
    if before.balance.keys() != delta.balance.keys():  # the projector was upgraded
        return None
    patch: dict[str, object] = {
        "type": "patch",
        "channel": delta.channel,
        "epoch": delta.epoch,
        "from": delta.from_,
        "to": delta.to,
        "recorded_at": delta.recorded_at,
    }
    for revision, transfer in enumerate(delta.transfers, delta.from_ + 1):
        if transfer.get("revision") == revision:
            del transfer["revision"]
    if delta.transfers:
        patch["transfers"] = delta.transfers
    if changed := _changed_fields(before, delta):
        patch["balance"] = changed
    return _encoder.encode(patch)


def _changed_fields(before: _Delta, delta: _Delta) -> _Fields:
    balance, previous = delta.balance, before.balance
    changed = {name: value for name, value in balance.items() if previous[name] != value}
    if "version" in changed:
        transfers = delta.transfers or before.transfers
        transfer_id = transfers[-1].get("id") if transfers else previous.get("transfer_id")
        for name, implied in (("revision", delta.to), ("transfer_id", transfer_id)):
            if balance.get(name) == implied:
                changed.pop(name, None)
            elif name in balance:
                changed[name] = balance[name]
    return changed


class Patcher:
    """Makes each patch once for all clients that were sent the same delta before. A gateway has one."""

    __slots__ = ("_made",)

    def __init__(self) -> None:
        # By the identities of the last delta and of the delta; the patch comes third.
        self._made: dict[tuple[int, int], tuple[Frame, Frame, Frame]] = {}

    def patch(
        self, subscriptions: "Mapping[AccountId, Subscription]", frames: Sequence[Frame | bytes]
    ) -> list[Frame | bytes]:
        """Returns the frames that a client is sent next, with patches instead of deltas where it can be."""
        return [
            self._next(subscription, frame)
            if isinstance(frame, Frame) and (subscription := _patched(subscriptions, frame.account))
            else frame
            for frame in frames
        ]

    def _next(self, subscription: "Subscription", frame: Frame) -> Frame:
        is_delta = frame.mergeable  # else it is a snapshot, or a page
        last = subscription.sent
        subscription.sent = frame if is_delta and len(frame.text) <= MAX_KEPT_BYTES else None
        if last is None or not is_delta:
            return frame
        if (made := self._made.get((id(last), id(frame)))) is None:
            text = make_patch(last.text, frame.text)
            made = last, frame, frame if text is None else replace(frame, text=text)
            if len(self._made) >= MAX_PATCHES:
                self._made.clear()
            self._made[id(last), id(frame)] = made
        return made[2]


def _patched(subscriptions: "Mapping[AccountId, Subscription]", source: Source) -> "Subscription | None":
    subscription = subscriptions.get(source) if isinstance(source, str) else None
    return subscription if subscription and subscription.wants_patches else None
