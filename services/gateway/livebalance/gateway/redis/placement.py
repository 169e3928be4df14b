"""At which server of a Redis cluster each channel is to be heard; a single server hears all.

It takes what is wanted, what servers say and who owns which slots, and returns nothing: what is to be sent
stands in `orders`.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from livebalance.runtime.redis.url import RedisNode


class SlotOwners(Protocol):
    """Who owns which channel; None: nobody is known to."""

    nodes: set[RedisNode]

    def owner(self, channel: bytes) -> RedisNode | None: ...


class SingleNode:
    """A single server owns all."""

    def __init__(self, node: RedisNode) -> None:
        self.node = node
        self.nodes = {node}

    def owner(self, channel: bytes) -> RedisNode:
        return self.node


class Placement:
    def __init__(self) -> None:
        self.orders: dict[RedisNode, dict[bytes, bool]] = defaultdict(
            dict
        )  # whether each is to be heard there
        self._owners: SlotOwners | None = None
        self._seats: dict[bytes, RedisNode | None] = {}  # of all that are wanted
        self._astray: dict[
            bytes, RedisNode | None
        ] = {}  # of them, those without a seat, and where each was last
        self._heard: set[bytes] = set()  # of them, those that were acknowledged

    def is_amiss(self) -> bool:
        """Some are heard nowhere: who owns them has to be asked."""
        return bool(self._astray)

    def want(self, channels: Iterable[bytes]) -> None:
        """Those that are wanted already are asked for anew."""
        for channel in channels:
            self._heard.discard(channel)
            self._seat(channel)

    def leave(self, channels: Iterable[bytes]) -> None:
        for channel in channels:
            self._heard.discard(channel)
            last = self._last(channel)
            self._seats.pop(channel, None)
            if last:
                self.orders[last][channel] = False

    def shared(self, owners: SlotOwners) -> None:
        """Who owns what now: each that is elsewhere moves there."""
        if owners == self._owners:  # as nearly always: to look at all of them takes a millisecond for 1,000
            elsewhere = list(self._astray)
        else:
            elsewhere = [one for one, seat in self._seats.items() if owners.owner(one) != seat]
        self._owners = owners
        for channel in elsewhere:
            self._seat(channel)

    def strayed(self, node: RedisNode, channels: Iterable[bytes]) -> None:
        """That server does not hear them (any more). Those it is about to be asked for may come yet."""
        ordered = self.orders.get(node, {})
        for channel in channels:
            if self._seats.get(channel) == node and channel not in ordered:
                self._seats[channel] = None
                self._astray[channel] = node

    def heard(self, channels: Iterable[bytes]) -> bool:
        """They are, from now on. Whether some were before: what came in between is lost."""
        again = not self._heard.isdisjoint(channels)
        self._heard.update(channels)
        return again

    def _seat(self, channel: bytes) -> None:
        owner = self._owners.owner(channel) if self._owners else None
        last = self._last(channel)
        if last and last != owner:
            self.orders[last][channel] = False
        self._seats[channel] = owner
        if owner is None:
            self._astray[channel] = None
        else:
            self.orders[owner][channel] = True

    def _last(self, channel: bytes) -> RedisNode | None:
        """Where it is, or strayed from: who refused it may have taken it since, by another command."""
        return self._seats.get(channel) or self._astray.pop(channel, None)

    def at(self, node: RedisNode) -> list[bytes]:
        """All that are to be heard there."""
        return [channel for channel, seat in self._seats.items() if seat == node]

    def is_at(self, channel: bytes, node: RedisNode) -> bool:
        return self._seats.get(channel) == node

    def anchor(self, node: RedisNode) -> bytes | None:
        """Some channel that is to be heard there."""
        return next((channel for channel, seat in self._seats.items() if seat == node), None)

    def take(self) -> dict[RedisNode, dict[bytes, bool]]:
        """The orders since it was last asked."""
        taken, self.orders = self.orders, defaultdict(dict)
        return taken
