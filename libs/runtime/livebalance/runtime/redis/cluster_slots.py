"""Which node of a Redis cluster a channel belongs to: its name gives a slot, and each slot has one owner."""

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from livebalance.runtime.redis.url import RedisNode

COUNT = 16_384
_UNNAMED = (None, b"", b"?")


def slot_of(channel: bytes) -> int:
    """CRC16 (XMODEM) of the name, or of what stands between its first { and the next }, if anything does."""
    begin = channel.find(b"{") + 1
    if begin and (end := channel.find(b"}", begin)) > begin:
        channel = channel[begin:end]
    return crc_hqx(channel, 0) % COUNT


@dataclass
class ClusterSlots:
    """The owner of each slot, as far as it is known; `nodes` are all of them."""

    _owners: list[RedisNode | None]
    nodes: set[RedisNode] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        self.nodes = {node for node in self._owners if node}

    @classmethod
    def of(cls, reply: Sequence[Any], asked: RedisNode) -> "ClusterSlots":
        """What a node answered to CLUSTER SLOTS; one that has no name for another means itself."""
        owners: list[RedisNode | None] = [None] * COUNT
        for first, last, (host, port, *_), *_replicas in reply:
            node = RedisNode(_named(host, asked), port)
            owners[first : last + 1] = [node] * (last + 1 - first)
        return cls(owners)

    def owner(self, channel: bytes) -> RedisNode | None:
        return self._owners[slot_of(channel)]

    def learn(self, move: "Moved") -> None:
        """Of one slot it is known better."""
        self._owners[move.slot] = move.to
        self.nodes.add(move.to)


class Moved(NamedTuple):
    """What a node says when it is asked for a slot that is another's."""

    slot: int
    to: RedisNode

    @classmethod
    def of(cls, error: str, asked: RedisNode) -> "Moved | None":
        """None: it says something else."""
        word, *rest = error.split(" ")
        if word != "MOVED" or len(rest) != 2:
            return None
        host, _, port = rest[1].rpartition(":")
        return cls(int(rest[0]), RedisNode(_named(host.encode(), asked), int(port)))


def _named(host: bytes | None, asked: RedisNode) -> str:
    return asked.host if host in _UNNAMED or host is None else host.decode()
