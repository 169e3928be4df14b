"""The channels of a session: returns the requests to send, and applies the frames that arrive."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf
from typing import Any

from msgspec import UNSET, UnsetType

from livebalance.client.account import Account, MissedRevisions, apply
from livebalance.client.channel import Channel, Phase
from livebalance.client.event import Changed, Ended, Event
from livebalance.client.patch import apply_patch
from livebalance.wire.frame import (
    PATCHES,
    ClientFrame,
    DeltaFrame,
    Error,
    Ok,
    Patch,
    Snapshot,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
)
from livebalance.wire.identity import AccountId, Epoch, Position, channel_account, channel_name

CHANNELS_PER_FRAME = 100  # with the longest names and positions a frame stays below MAX_CLIENT_FRAME

ChannelFrame = Snapshot | DeltaFrame | Patch | Ok | Error | Unsubscribed


class Channels:
    """All channels of a session.

    `due` is the time until which `requests` must be called. It may be too early, but never too late.
    """

    def __init__(self, *, patches: bool) -> None:
        """Creates a collection without channels. `patches`: it asks for this feature."""
        self.due = inf
        self._features = [PATCHES] if patches else []
        self._channels: dict[AccountId, Channel] = {}
        self._unfollowed: list[AccountId] = []  # the gateway does not know it yet
        self._last_request_id = 0

    def follow(self, account: AccountId, since: Position | None) -> None:
        """Adds a channel. Its state begins at `since`, without balance and transfers."""
        if account not in self._channels:
            self._channels[account] = Channel(account, Account(account, since) if since else None)
            self.due = 0.0

    def unfollow(self, account: AccountId) -> None:
        """Removes a channel."""
        channel = self._channels.pop(account, None)
        if channel and channel.request_id:  # the gateway may know it, also while a retry waits
            self._unfollowed.append(account)
            self.due = 0.0

    def account_state(self, account: AccountId) -> Account | None:
        """Returns the state of an account, or None before its first frame."""
        channel = self._channels.get(account)
        return channel.state if channel else None

    def resubscribe_all(self) -> None:
        """Schedules a request for each channel. Called when the connection was lost: the next has none."""
        self._unfollowed.clear()
        for channel in self._channels.values():
            channel.received, channel.request_id = None, 0
            channel.request_at()
        self.due = 0.0 if self._channels else inf

    def requests(self, now: float, jitter: float) -> list[ClientFrame]:
        """Returns frames with all requests that are due, as few as possible."""
        due = [channel for channel in self._channels.values() if channel.due <= now]
        for channel in due:
            if channel.phase is Phase.REQUESTED:
                channel.retry_later(now, jitter)
        pending = iter([channel for channel in due if channel.due <= now])
        frames = [*self._unsubscribes(), *self._subscribes(pending, now)]
        self.due = min((channel.due for channel in self._channels.values()), default=inf)
        return frames

    def _subscribes(self, pending: Iterator[Channel], now: float) -> Iterator[ClientFrame]:
        while channels := list(islice(pending, CHANNELS_PER_FRAME)):
            request_id = self._next_request_id()
            yield Subscribe(request_id, [channel.to_request() for channel in channels], self._features)
            for channel in channels:
                channel.request_sent(request_id, now)

    def _unsubscribes(self) -> Iterator[ClientFrame]:
        unfollowed = iter(self._unfollowed)
        while names := [channel_name(account) for account in islice(unfollowed, CHANNELS_PER_FRAME)]:
            yield Unsubscribe(self._next_request_id(), names)
        self._unfollowed = []

    def _next_request_id(self) -> int:
        self._last_request_id += 1
        return self._last_request_id

    def receive(self, frame: ChannelFrame, now: float, jitter: float) -> list[Event]:
        """Applies a frame and returns the events that it causes.

        Raises:
            DecodeError: The frame names a channel that is not the channel of an account.
        """
        return _RECEIVE[type(frame)](self, frame, now, jitter)

    def _change(self, frame: Snapshot | DeltaFrame | Patch, now: float, jitter: float) -> list[Event]:
        channel = self._channels.get(channel_account(frame.channel))
        if channel is None:
            return []  # the account was unfollowed
        if isinstance(frame, Patch):
            if (delta := apply_patch(channel.received, frame)) is None:
                return self._miss(channel, frame, now, jitter)
            frame = delta
        channel.received = frame if isinstance(frame, DeltaFrame) else None
        outcome = apply(channel.state, frame)
        if isinstance(outcome, Account):
            channel.change(outcome)
            return [Changed(outcome, frame)]
        if isinstance(outcome, MissedRevisions) and channel.phase is Phase.LIVE:
            self._retry_later([channel], 0.0, now, jitter)
            return [outcome]
        return []  # already applied, or sent before the answer that this client waits for

    def _miss(self, channel: Channel, patch: Patch, now: float, jitter: float) -> list[Event]:
        """Handles a patch that does not follow the last frame."""
        if channel.phase is not Phase.LIVE:
            return []
        self._retry_later([channel], 0.0, now, jitter)
        position = channel.state.position if channel.state else None
        return [MissedRevisions(channel.account, position, Epoch(patch.epoch), patch.from_, patch.to)]

    def _ok(self, frame: Ok, now: float, jitter: float) -> list[Event]:
        for channel in self._channels_of_request(frame.id):
            channel.request_ok()
        return []

    def _error(self, frame: Error, now: float, jitter: float) -> list[Event]:
        channels = self._channels_of_error(frame)
        if frame.temporary:
            min_delay = frame.retry_after_ms / 1000 if isinstance(frame.retry_after_ms, int) else 0.0
            self._retry_later(channels, min_delay, now, jitter)
            return [frame]
        for channel in channels:
            del self._channels[channel.account]
        return [Ended(channel.account, frame.code, frame.message) for channel in channels] or [frame]

    def _unsubscribed(self, frame: Unsubscribed, now: float, jitter: float) -> list[Event]:
        ended = self._channels.pop(channel_account(frame.channel), None)
        return [Ended(ended.account, frame.code, frame.message)] if ended else []

    def _channels_of_error(self, frame: Error) -> list[Channel]:
        """Returns the channel that an error names, or else all channels of its request."""
        if isinstance(frame.channel, str):
            channel = self._channels.get(channel_account(frame.channel))
            return [channel] if channel else []
        return self._channels_of_request(frame.id)

    def _channels_of_request(self, request_id: str | int | UnsetType) -> list[Channel]:
        if request_id is UNSET:
            return []
        return [
            channel
            for channel in self._channels.values()
            if channel.phase is Phase.REQUESTED and channel.request_id == request_id
        ]

    def _retry_later(self, channels: Iterable[Channel], min_delay: float, now: float, jitter: float) -> None:
        for channel in channels:
            channel.retry_later(now, jitter, min_delay)
            self.due = min(self.due, channel.due)


_RECEIVE: dict[type[ChannelFrame], Callable[[Channels, Any, float, float], list[Event]]] = {
    Snapshot: Channels._change,
    DeltaFrame: Channels._change,
    Patch: Channels._change,
    Ok: Channels._ok,
    Error: Channels._error,
    Unsubscribed: Channels._unsubscribed,
}
