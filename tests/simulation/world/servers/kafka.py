"""Kafka as values: logs with transactions, retention and compaction, topics with ids, and consumer groups.

A reader sees committed records below the last stable offset, as with `isolation.level=read_committed`.
Control records and aborted records occupy offsets and are never returned.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from livebalance.readmodel.rows import SourceIdentity
from livebalance.wire.kafka.headers import Headers
from livebalance.wire.kafka.raw_record import RawRecord

TRANSFERS, BALANCES, LIFECYCLE = "transfers", "account-balances", "account-lifecycle"

Record = RawRecord


class ProducerFencedError(Exception):
    """A later producer with the same transactional id exists."""


class OffsetOutOfRangeError(Exception):
    """The log does not hold the offset."""


class ConnectionLostError(Exception):
    """A server did not answer. Whether it did what was asked is unknown."""


class GroupOffset(NamedTuple):
    """The committed offset of a group, with its metadata."""

    offset: int
    metadata: str = ""


class Partition(NamedTuple):
    """The name of a partition."""

    topic: str
    number: int


class Transaction:
    """A transaction. `is_open` ends once; then `committed` says how."""

    __slots__ = ("committed", "is_open", "logs", "offsets")

    def __init__(self) -> None:
        self.is_open, self.committed = True, False
        self.logs: dict[Log, None] = {}
        self.offsets: dict[tuple[str, Partition], GroupOffset] = {}


class Entry(NamedTuple):
    """A record in a log; without a transaction it is committed."""

    record: Record
    transaction: Transaction | None
    topic_id: UUID

    @property
    def is_open(self) -> bool:
        return self.transaction is not None and self.transaction.is_open

    @property
    def committed(self) -> bool:
        return self.transaction is None or self.transaction.committed


class Log:
    """A partition: entries with ascending offsets, from `first` up to `end`."""

    __slots__ = ("end", "entries", "first", "name", "nulls_from", "topic_id")

    def __init__(self, name: Partition, topic_id: UUID) -> None:
        self.name, self.topic_id = name, topic_id
        self.first = self.end = self.nulls_from = 0  # compaction has removed all nulls below `nulls_from`
        self.entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.end += 1

    def append_control(self) -> None:
        self.end += 1

    @property
    def first_open(self) -> Record | None:
        """The first record of an open transaction."""
        for record, transaction, _ in self.entries:
            if transaction is not None and transaction.is_open:
                return record
        return None

    @property
    def last_stable(self) -> int:
        record = self.first_open
        return self.end if record is None else record.offset

    @property
    def last(self) -> int:
        """The offset of the last committed record, -1 if there is none."""
        for record, transaction, _ in reversed(self.entries):
            if transaction is None or transaction.committed:
                return record.offset
        return -1

    def read(self, offset: int, limit: int = 1_000_000) -> tuple[list[Record], int]:
        """Returns up to `limit` committed records from `offset` on, and the offset of the next fetch."""
        if not self.first <= offset <= self.end:
            raise OffsetOutOfRangeError
        if offset == self.end:
            return [], offset
        records: list[Record] = []
        for record, transaction, _ in self.entries:
            if transaction is not None and transaction.is_open:
                return records, max(offset, record.offset)
            if record.offset < offset or (transaction is not None and not transaction.committed):
                continue
            if len(records) == limit:
                return records, record.offset
            records.append(record)
        return records, self.end

    def delete_before(self, offset: int) -> None:
        """Deletes records, as retention and DeleteRecords do."""
        self.first = max(self.first, min(offset, self.last_stable))
        self.entries = [entry for entry in self.entries if entry.record.offset >= self.first]

    def compact(self, *, keeps_nulls: bool) -> None:
        """Keeps only the last committed record of each key below the last stable offset.

        Kafka keeps a null for `delete.retention.ms`, and removes it then.
        """
        stable = self.last_stable
        self.nulls_from = self.nulls_from if keeps_nulls else stable
        below = [entry for entry in self.entries if entry.record.offset < stable and entry.committed]
        newest = {entry.record.key: entry for entry in below}
        self.entries = [
            entry
            for entry in self.entries
            if entry.record.offset >= stable
            or (newest.get(entry.record.key) is entry and (keeps_nulls or entry.record.value is not None))
        ]


class Topic:
    """A topic of one life: if it is deleted and created again, its id is another."""

    def __init__(self, name: str, topic_id: UUID, partitions: int) -> None:
        self.name, self.id, self.id_text = name, topic_id, str(topic_id)
        self.logs = [Log(Partition(name, number), topic_id) for number in range(partitions)]


class Producer:
    """A producer with a transactional id, of one epoch. Every call raises an error once it is fenced."""

    def __init__(self, kafka: "Kafka", name: str, epoch: int) -> None:
        self._kafka, self._name, self._epoch = kafka, name, epoch
        self._transaction: Transaction | None = None

    def begin(self) -> None:
        self._check()
        self._transaction = self._kafka.open_transactions[self._name] = Transaction()

    def send(self, log: Log, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        self._check()
        if self._transaction is not None:
            self._transaction.logs[log] = None
        self._kafka.append(log, key, value, headers, self._transaction)

    def send_offset(self, group: str, partition: Partition, offset: int) -> None:
        self._check()
        assert self._transaction is not None
        self._transaction.offsets[group, partition] = GroupOffset(offset)

    def commit(self) -> None:
        self._check()
        outcome, self._kafka.doubt = self._kafka.doubt, None
        if outcome != "lost":
            self._kafka.end_transaction(self._name, committed=True)
        self._transaction = None
        if outcome is not None:
            raise ConnectionLostError

    def _check(self) -> None:
        if self._kafka.producer_epochs[self._name] != self._epoch:
            raise ProducerFencedError


class Kafka:
    """A cluster. `wall` is the time that it gives to records, in ms."""

    def __init__(self, partitions: int, wall: int) -> None:
        self.wall = wall
        self.topics: dict[str, Topic] = {}
        self.offsets: dict[tuple[str, Partition], GroupOffset] = {}
        self.producer_epochs: dict[str, int] = {}
        self.open_transactions: dict[str, Transaction] = {}
        self.written: list[Entry] = []  # all that was ever written, whatever was deleted since
        self.doubt: str | None = None  # outcome of the next commit, whose answer is lost: "done" or "lost"
        self._topic_ids = 0
        for name in (TRANSFERS, BALANCES, LIFECYCLE):
            self.create_topic(name, partitions)

    def create_topic(self, name: str, partitions: int) -> None:
        """Creates a topic, in place of an earlier topic of this name."""
        self._topic_ids += 1
        self.topics[name] = Topic(name, UUID(int=self._topic_ids), partitions)
        for key in [key for key in self.offsets if key[1].topic == name]:
            del self.offsets[key]

    def add_partition(self, name: str) -> None:
        topic = self.topics[name]
        topic.logs.append(Log(Partition(name, len(topic.logs)), topic.id))

    def log(self, topic: str, partition: int) -> Log:
        return self.topics[topic].logs[partition]

    def partitions(self, topic: str) -> int:
        return len(self.topics[topic].logs)

    def identity(self) -> SourceIdentity:
        transfers, balances = self.topics[TRANSFERS], self.topics[BALANCES]
        return SourceIdentity(len(transfers.logs), transfers.id_text, balances.id_text)

    def append(
        self,
        log: Log,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        transaction: Transaction | None = None,
    ) -> None:
        record = Record(*log.name, log.end, self.wall, key, value, headers)
        entry = Entry(record, transaction, log.topic_id)
        log.append(entry)
        self.written.append(entry)

    def start_producer(self, name: str) -> Producer:
        """Returns a producer with this transactional id. Fences its predecessor and ends its transaction."""
        epoch = self.producer_epochs[name] = self.producer_epochs.get(name, 0) + 1
        if name in self.open_transactions:
            self.end_transaction(name, committed=False)
        return Producer(self, name, epoch)

    def end_transaction(self, name: str, *, committed: bool) -> None:
        transaction = self.open_transactions.pop(name)
        transaction.is_open, transaction.committed = False, committed
        for log in transaction.logs:
            log.append_control()
        if committed:
            self.offsets.update(transaction.offsets)

    def commit_offsets(self, group: str, offsets: Iterable[tuple[Partition, GroupOffset]]) -> None:
        self.offsets.update(((group, partition), offset) for partition, offset in offsets)

    def written_to(self, log: Log, start: int) -> Iterator[Record]:
        """Returns the committed records that a log had from `start` on, whether they were deleted or not."""
        for record, transaction, topic_id in self.written:
            if (
                (record.topic, record.partition, topic_id) == (*log.name, log.topic_id)
                and start <= record.offset
                and (transaction is None or transaction.committed)
            ):
                yield record

    def committed(self, topic: str) -> Sequence[Entry]:
        """Returns all records of the topic's name that were ever committed, in the order of writing."""
        return [entry for entry in self.written if entry.record.topic == topic and entry.committed]


class Member:
    """A member's view of the group, which is out of date until its next poll."""

    __slots__ = ("assigned", "number")

    def __init__(self) -> None:
        self.assigned: tuple[int, ...] = ()
        self.number = -1  # of the rebalance that assigned them


class Group:
    """Assigns the partitions to its members in turn. Each change of either is a rebalance."""

    def __init__(self, partitions: Callable[[], int]) -> None:
        self._partitions = partitions
        self._members: list[Member] = []
        self.number = 0

    def rebalance(self) -> None:
        self.number += 1

    def poll(self, member: Member) -> bool:
        """Joins unless the member belongs to the group. Returns whether its assignment changed."""
        if member not in self._members:
            self._members.append(member)
            self.rebalance()
        if member.number == self.number:
            return False
        member.number, index = self.number, self._members.index(member)
        member.assigned = tuple(range(self._partitions()))[index :: len(self._members)]
        return True

    def expire(self, member: Member) -> None:
        """Removes a member that no longer sends heartbeats. The member does not notice before it polls."""
        if member in self._members:
            self._members.remove(member)
            self.rebalance()
