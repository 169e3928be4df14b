"""The slot map of a Redis cluster: a channel's name determines its slot, and each slot has an owner node."""

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from livebalance.runtime.redis.url import RedisNode

SLOT_COUNT = 16_384
_NO_HOST = (None, b"", b"?")  # a node that does not know its own host name replies with one of these


def slot_of(channel: bytes) -> int:
    """Returns a channel's slot: CRC16 (XMODEM) of its hash tag (the text in braces), or of its whole name."""
    begin = channel.find(b"{") + 1
    if begin and (end := channel.find(b"}", begin)) > begin:
        channel = channel[begin:end]
    return crc_hqx(channel, 0) % SLOT_COUNT


@dataclass
class ClusterSlots:
    """The owner of each slot, or None if it is not known, and all `nodes` that are owners."""

    _owners: list[RedisNode | None]
    nodes: set[RedisNode] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.nodes = {node for node in self._owners if node}

    @classmethod
    def from_reply(cls, reply: Sequence[Any], asked: RedisNode) -> "ClusterSlots":
        """Returns the slot map in a reply of `asked` to CLUSTER SLOTS. No host name means `asked` itself."""
        owners: list[RedisNode | None] = [None] * SLOT_COUNT
        for first, last, (host, port, *_), *_replicas in reply:
            node = RedisNode(_host_name(host, asked), port)
            owners[first : last + 1] = [node] * (last + 1 - first)
        return cls(owners)

    def owner(self, channel: bytes) -> RedisNode | None:
        """Returns the node that owns the channel's slot, or None if it is not known."""
        return self._owners[slot_of(channel)]

    def apply_move(self, move: "Moved") -> None:
        """Corrects the owner of a slot after a MOVED error."""
        self._owners[move.slot] = move.to
        self.nodes.add(move.to)


class Moved(NamedTuple):
    """A MOVED error: another node owns the slot of the command."""

    slot: int
    to: RedisNode

    @classmethod
    def parse(cls, error: str, asked: RedisNode) -> "Moved | None":
        """Returns the MOVED error in an error reply of `asked`, or None if it is another error."""
        word, *rest = error.split(" ")
        if word != "MOVED" or len(rest) != 2:
            return None
        host, _, port = rest[1].rpartition(":")
        return cls(int(rest[0]), RedisNode(_host_name(host.encode(), asked), int(port)))


def _host_name(host: bytes | None, asked: RedisNode) -> str:
    return asked.host if host in _NO_HOST or host is None else host.decode()
