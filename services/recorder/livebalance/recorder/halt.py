"""Decides whether a partition can be read on, or must halt until an operator lets it continue. Pure."""

from livebalance.readmodel.rows import SourceIdentity
from livebalance.recorder.ledger import NO_OFFSET
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.source import Source

NO_ID = "none"  # of a topic whose broker knows no topic ids


class HaltedError(Exception):
    """Continuing could lose or repeat transfers: the partition waits for an operator. The text says why."""


def partitions_reason(known: SourceIdentity, now: SourceIdentity) -> str | None:
    """Returns why records of an account may be in two partitions; None if they are not."""
    if known.partitions == now.partitions:
        return None
    return f"the topics have {now.partitions} partitions, the recorder began with {known.partitions}"


def topics_reason(known: SourceIdentity, now: SourceIdentity, topics: tuple[str, str]) -> str | None:
    """Returns why the two topics are not those that were read before; None if they are.

    `topics` are the names of the topics of transfers and of balances.
    """
    for topic, before, after in zip(topics, known[1:], now[1:], strict=True):
        if not _is_same(before, after):
            return f"{topic} has another topic id now: the topic was recreated"
    return None


def unreadable_reason(topic: str, first: int, end: int, next_offset: int) -> str | None:
    """Returns why a topic with offsets from `first` to before `end` cannot be read on; None if it can."""
    if end < next_offset:
        return f"{topic} ends at {end} but {next_offset} comes next: the topic was recreated"
    if first > next_offset:
        return f"{topic} begins at {first} but {next_offset} comes next: history was lost"
    return None


class SourceCheck:
    """Checks the sources of a partition's balances, and keeps the newest source.

    Args:
        topic_id: Id of the topic of transfers.
        topic: Name of that topic.
        partition: The partition.
        accepts_others: An operator has accepted balances that were not made from this partition. They count
            as balances without a source.
        trusts_offsets: A source that names an offset and no topic is one of this partition.
    """

    def __init__(
        self, topic_id: str, topic: str, partition: Lane, *, accepts_others: bool, trusts_offsets: bool
    ) -> None:
        self._topic_id, self._topic, self._partition = topic_id, topic, partition
        self._accepts_others, self.trusts_offsets = accepts_others, trusts_offsets
        self.end = Offset(0)  # of the partition of transfers
        self.others = False  # whether balances of other sources were accepted
        self.newest: Source | None = None
        self.greatest = NO_OFFSET  # of all sources, also of those that name no topic

    def offset(self, source: Source | Offset | None) -> Offset:
        """Returns the offset of the last transfer that a balance includes; NO_OFFSET if it is unknown.

        Raises:
            HaltedError: The balance was made from other transfers than those of this partition.
        """
        if source is None or not (self.trusts_offsets or isinstance(source, Source)):
            return NO_OFFSET
        if reason := self._reason(source):
            if not self._accepts_others:
                raise HaltedError(reason)
            self.others = True
            return NO_OFFSET
        if not isinstance(source, Source):
            self.greatest = max(self.greatest, source)
            return source
        self.advance(source)
        return source.offset

    def advance(self, source: Source) -> None:
        """Takes the source of a balance that was made from this partition."""
        self.greatest = max(self.greatest, source.offset)
        if self.newest is None or source.offset >= self.newest.offset:
            self.newest = source

    def _reason(self, source: Source | Offset) -> str | None:
        offset = source.offset if isinstance(source, Source) else source
        if isinstance(source, Source) and not (
            _is_same(source.topic_id, self._topic_id) and source.partition == self._partition
        ):
            return (
                f"a balance includes {source.topic_id}/{source.partition}@{offset}, which is not in"
                f" {self._topic}/{self._partition}"
            )
        if offset >= self.end:
            return (
                f"a balance includes offset {offset} but {self._topic} ends at {self.end}: records were lost"
            )
        return None

    def is_of(self, topic_id: str) -> bool:
        """Returns whether this is the id of the topic of transfers."""
        return topic_id == self._topic_id

    def check_record(self, offset: int, fingerprint: bytes) -> None:
        """Raises HaltedError if the record at the offset of the newest source is another record now."""
        if self.newest and self.newest.offset == offset and self.newest.fingerprint != fingerprint:
            raise HaltedError(f"{self._topic} holds another record at {offset} now: the topic was recreated")


def _is_same(id_: str, other: str) -> bool:
    return id_ == other or NO_ID in (id_, other)
