"""The offsets of a partition."""

from typing import NamedTuple

from livebalance.wire.identity import Offset


class PartitionState(NamedTuple):
    """Offsets of a partition, as Kafka reports them."""

    first: Offset
    end: Offset  # the last stable offset: records of open transactions are after it
    committed: Offset | None = None  # the group's offset
    epoch: str = ""  # in which the group's offset was committed; its metadata
