"""The channels of a session: questions out, frames in, told what the accounts are now."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf
from typing import Any

from msgspec import UNSET, UnsetType

from livebalance.client.account import Account, MissedRevisions, apply
from livebalance.client.channel import Channel, Phase
from livebalance.client.event import Changed, Ended, Event
from livebalance.wire.frame import (
    ClientFrame,
    DeltaFrame,
    Error,
    Ok,
    Snapshot,
    Subscribe,
    Unsubscribe,
    Unsubscribed,
)
from livebalance.wire.identity import AccountId, Position, channel_account, channel_name

CHANNELS_A_FRAME = 100  # with the longest names and positions still below frame.MAX_CLIENT_FRAME

ChannelFrame = Snapshot | DeltaFrame | Ok | Error | Unsubscribed


class Channels:
    """`due` is when `questions` should be called at the latest; it may be early, never late."""

    def __init__(self) -> None:
        self.due = inf
        self._channels: dict[AccountId, Channel] = {}
        self._unwanted: list[AccountId] = []
        self._requests = 0

    def follow(self, account: AccountId, since: Position | None) -> None:
        if account not in self._channels:
            self._channels[account] = Channel(account, Account(account, since) if since else None)
            self.due = 0.0

    def unfollow(self, account: AccountId) -> None:
        channel = self._channels.pop(account, None)
        if channel and channel.phase is not Phase.WANTED:
            self._unwanted.append(account)
            self.due = 0.0

    def shown(self, account: AccountId) -> Account | None:
        channel = self._channels.get(account)
        return channel.shown if channel else None

    def restart(self) -> None:
        """The connection is gone: a new one follows nothing, so everything is asked for again, at once."""
        self._unwanted.clear()
        for channel in self._channels.values():
            channel.want()
        self.due = 0.0 if self._channels else inf

    def questions(self, now: float, chance: float) -> list[ClientFrame]:
        """Everything that is due, in as few frames as hold it."""
        due = [channel for channel in self._channels.values() if channel.due <= now]
        for channel in due:
            if channel.phase is Phase.ASKED:
                channel.fail(now, chance)
        wanted = iter([channel for channel in due if channel.due <= now])
        frames = [*self._unsubscribes(), *self._subscribes(wanted, now)]
        self.due = min((channel.due for channel in self._channels.values()), default=inf)
        return frames

    def _subscribes(self, wanted: Iterator[Channel], now: float) -> Iterator[ClientFrame]:
        while some := list(islice(wanted, CHANNELS_A_FRAME)):
            request = self._request()
            yield Subscribe(request, [channel.question() for channel in some])
            for channel in some:
                channel.ask(request, now)

    def _unsubscribes(self) -> Iterator[ClientFrame]:
        unwanted = iter(self._unwanted)
        while some := [channel_name(account) for account in islice(unwanted, CHANNELS_A_FRAME)]:
            yield Unsubscribe(self._request(), some)
        self._unwanted = []

    def _request(self) -> int:
        self._requests += 1
        return self._requests

    def hear(self, frame: ChannelFrame, now: float, chance: float) -> list[Event]:
        """Raises DecodeError when a frame names a channel that cannot be one."""
        return _HEAR[type(frame)](self, frame, now, chance)

    def _change(self, frame: Snapshot | DeltaFrame, now: float, chance: float) -> list[Event]:
        channel = self._channels.get(channel_account(frame.channel))
        if channel is None:
            return []  # no longer followed
        found = apply(channel.shown, frame)
        if isinstance(found, Account):
            channel.move(found)
            return [Changed(found, frame)]
        if isinstance(found, MissedRevisions) and channel.phase is Phase.LIVE:
            self._fail([channel], 0.0, now, chance)
            return [found]
        return []  # repeated, or overtaken by the answer that is on its way

    def _ok(self, frame: Ok, now: float, chance: float) -> list[Event]:
        for channel in self._asked(frame.id):
            channel.answered()
        return []

    def _error(self, frame: Error, now: float, chance: float) -> list[Event]:
        meant = self._meant(frame)
        if frame.temporary:
            at_least = frame.retry_after_ms / 1000 if isinstance(frame.retry_after_ms, int) else 0.0
            self._fail(meant, at_least, now, chance)
            return [frame]
        for channel in meant:
            del self._channels[channel.account]
        return [Ended(channel.account, frame.code, frame.message) for channel in meant] or [frame]

    def _unsubscribed(self, frame: Unsubscribed, now: float, chance: float) -> list[Event]:
        ended = self._channels.pop(channel_account(frame.channel), None)
        return [Ended(ended.account, frame.code, frame.message)] if ended else []

    def _meant(self, frame: Error) -> list[Channel]:
        """An error is about its channel, or else about everything that its request asked for."""
        if isinstance(frame.channel, str):
            channel = self._channels.get(channel_account(frame.channel))
            return [channel] if channel else []
        return self._asked(frame.id)

    def _asked(self, request: str | int | UnsetType) -> list[Channel]:
        if request is UNSET:
            return []
        return [c for c in self._channels.values() if c.phase is Phase.ASKED and c.request == request]

    def _fail(self, channels: Iterable[Channel], at_least: float, now: float, chance: float) -> None:
        for channel in channels:
            channel.fail(now, chance, at_least)
            self.due = min(self.due, channel.due)


_HEAR: dict[type[ChannelFrame], Callable[[Channels, Any, float, float], list[Event]]] = {
    Snapshot: Channels._change,
    DeltaFrame: Channels._change,
    Ok: Channels._ok,
    Error: Channels._error,
    Unsubscribed: Channels._unsubscribed,
}
