"""Decides at which Redis node each channel is subscribed. Without a cluster, the node has every channel.

Inputs are the wanted channels, the owners of the slots, and what nodes answer. The commands to send are in
`Placement.changes`.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Protocol

from livebalance.runtime.redis.url import RedisNode


class SlotOwners(Protocol):
    """The node that owns each channel."""

    nodes: set[RedisNode]

    def owner(self, channel: bytes) -> RedisNode | None:
        """Returns the owner, or None if no node is known to own the channel's slot."""


class SingleNode:
    """The owner of every channel, outside a cluster."""

    def __init__(self, node: RedisNode) -> None:
        self.node = node
        self.nodes = {node}

    def owner(self, channel: bytes) -> RedisNode:
        """Returns the node."""
        return self.node


class Placement:
    """Assigns each wanted channel to the node that owns it."""

    def __init__(self) -> None:
        # For each node, the channels to subscribe (True) or to unsubscribe (False).
        self.changes: dict[RedisNode, dict[bytes, bool]] = defaultdict(dict)
        self._owners: SlotOwners | None = None
        self._nodes: dict[bytes, RedisNode | None] = {}  # of every wanted channel
        # Wanted channels without a node, and the node that each had last.
        self._unplaced: dict[bytes, RedisNode | None] = {}
        self._acknowledged: set[bytes] = set()  # wanted channels that a node acknowledged

    def has_unplaced(self) -> bool:
        """Returns whether a wanted channel has no node: then the slot map must be read again."""
        return bool(self._unplaced)

    def add(self, channels: Iterable[bytes]) -> None:
        """Wants channels. A channel that is wanted already is subscribed again."""
        for channel in channels:
            self._acknowledged.discard(channel)
            self._place(channel)

    def remove(self, channels: Iterable[bytes]) -> None:
        """Wants channels no more."""
        for channel in channels:
            self._acknowledged.discard(channel)
            last = self._last_node(channel)
            self._nodes.pop(channel, None)
            if last:
                self.changes[last][channel] = False

    def set_owners(self, owners: SlotOwners) -> None:
        """Moves each wanted channel that has another owner now."""
        if owners == self._owners:  # nearly always; checking every channel takes 1 ms per 1,000 channels
            moved = list(self._unplaced)
        else:
            moved = [channel for channel, node in self._nodes.items() if owners.owner(channel) != node]
        self._owners = owners
        for channel in moved:
            self._place(channel)

    def reject(self, node: RedisNode, channels: Iterable[bytes]) -> None:
        """Records that a node does not, or no longer, have these subscriptions.

        Channels that the node is about to be asked for stay placed: it may accept them.
        """
        unsent = self.changes.get(node, {})
        for channel in channels:
            if self._nodes.get(channel) == node and channel not in unsent:
                self._nodes[channel] = None
                self._unplaced[channel] = node

    def acknowledge(self, channels: Iterable[bytes]) -> bool:
        """Records that subscriptions were acknowledged.

        Returns whether a channel had been acknowledged before: messages published in between are lost.
        """
        again = not self._acknowledged.isdisjoint(channels)
        self._acknowledged.update(channels)
        return again

    def _place(self, channel: bytes) -> None:
        owner = self._owners.owner(channel) if self._owners else None
        last = self._last_node(channel)
        if last and last != owner:
            self.changes[last][channel] = False
        self._nodes[channel] = owner
        if owner is None:
            self._unplaced[channel] = None
        else:
            self.changes[owner][channel] = True

    def _last_node(self, channel: bytes) -> RedisNode | None:
        """Returns the node that has, or last had, the channel.

        A node that answered MOVED may have accepted a later SSUBSCRIBE, so it is unsubscribed as well.
        """
        return self._nodes.get(channel) or self._unplaced.pop(channel, None)

    def channels_at(self, node: RedisNode) -> list[bytes]:
        """Returns the channels that belong to `node`."""
        return [channel for channel, owner in self._nodes.items() if owner == node]

    def is_at(self, channel: bytes, node: RedisNode) -> bool:
        """Returns whether the channel belongs to `node`."""
        return self._nodes.get(channel) == node

    def any_channel_at(self, node: RedisNode) -> bytes | None:
        """Returns a channel that belongs to `node`, or None."""
        return next((channel for channel, owner in self._nodes.items() if owner == node), None)

    def drain(self) -> dict[RedisNode, dict[bytes, bool]]:
        """Returns the changes since the last call."""
        changes, self.changes = self.changes, defaultdict(dict)
        return changes
