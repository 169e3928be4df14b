"""The recorder's shell: claims a partition, restores its ledger, then applies and writes in transactions.

The order of the steps is that of `livebalance.recorder`. Each decision is that of its pure modules.
"""

from collections.abc import Iterator, Sequence
from itertools import takewhile

from livebalance.readmodel.rows import RecorderLane, quarantine_row
from livebalance.recorder.halt import (
    HaltedError,
    SourceCheck,
    partitions_reason,
    topics_reason,
    unreadable_reason,
)
from livebalance.recorder.ledger import REJECTS, Decision, Ledger, Verdict
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.lifecycle import Opened, encode_lifecycle
from livebalance.wire.kafka.raw_record import Erasure, Rejected, decode_balance
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.kafka.source import SOURCE, SOURCE_OFFSET, Source, fingerprint, source_of
from tests.simulation.world.codec import JSON
from tests.simulation.world.process import Process, Steps
from tests.simulation.world.servers.kafka import (
    BALANCES,
    LIFECYCLE,
    TRANSFERS,
    ConnectionLostError,
    Log,
    Member,
    OffsetOutOfRangeError,
    Partition,
    Producer,
    ProducerFencedError,
    Record,
)
from tests.simulation.world.servers.postgres import UnavailableError

GROUP = "recorder"
WINDOW = 1000  # offsets
BATCH = 3
POLL_SECONDS = 0.1
OPEN_SECONDS = 2.0  # longest wait for the end of a transaction
CHECK_SECONDS = 1.0  # between two comparisons of the topics' identity
MAX_REJECTS = 3


class Ownership:
    """A partition that a recorder believes to own. Without a producer it is halted."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.producer: Producer | None = None
        self.ledger = Ledger(WINDOW)
        self.check = SourceCheck("", TRANSFERS, Lane(number), accepts_others=False, trusts_offsets=False)
        self.topic_id = ""
        self.next_offset = self.next_balance = self.rejects = 0
        self.recorded_upto = 0  # the group's offset, also where `next_offset` is wrong
        self.checked_at = 0.0


class Recorder(Process):
    """A member of the group of recorders."""

    def create(self) -> Sequence[Steps]:
        self.member = Member()
        return (self._run(),)

    def expire(self) -> None:
        self.world.recorders_group.expire(self.member)

    def _run(self) -> Steps:
        owned: dict[int, Ownership] = {}
        while True:
            if self.world.recorders_group.poll(self.member):
                owned = {number: owned[number] for number in owned if number in self.member.assigned}
                for ownership in owned.values():
                    ownership.checked_at = -CHECK_SECONDS  # the topics may be others now
            for number in self.member.assigned:
                try:
                    if number not in owned:
                        ownership = Ownership(number)
                        yield from self._claim(ownership)
                        owned[number] = ownership
                    elif owned[number].producer is not None:
                        yield from self._record(owned[number])
                    elif self.world.postgres.recorder.lane(number).halted_why is None:
                        del owned[number]  # an operator lets it continue
                except HaltedError as halted:
                    self.world.postgres.recorder.update(number, halted_why=str(halted))
                    owned[number] = Ownership(number)
                except (ProducerFencedError, ConnectionLostError, OffsetOutOfRangeError, UnavailableError):
                    owned.pop(number, None)
                    yield POLL_SECONDS
            yield POLL_SECONDS

    # --- the claim

    def _claim(self, ownership: Ownership) -> Steps:
        kafka, number = self.world.kafka, ownership.number
        ownership.producer = kafka.start_producer(f"recorder-{TRANSFERS}-{number}")
        yield 0.0
        log, identity = kafka.log(TRANSFERS, number), kafka.identity()
        lane = self.world.postgres.recorder.begin(number, identity)
        self._halt_unless_same_topics(ownership, lane)
        ownership.next_offset, ownership.topic_id = self.start_offset(log), identity.transfers_id
        ownership.recorded_upto = self._committed(log)
        other_topic = lane.identity.transfers_id != identity.transfers_id
        ownership.check = check = SourceCheck(
            identity.transfers_id,
            TRANSFERS,
            Lane(number),
            accepts_others=lane.other_sources or lane.continued,
            trusts_offsets=not (lane.other_sources or other_topic),
        )
        check.end = Offset(log.last_stable)
        yield 0.0
        ownership.next_balance = kafka.log(BALANCES, number).first
        yield from self._read_all_balances(ownership)
        yield 0.0
        self._read_transfers(ownership, log)
        yield 0.0
        if lane.continued:
            others = lane.other_sources or check.others or other_topic
            self.world.postgres.recorder.update(
                number, identity=identity, other_sources=others, continued=False
            )

    def _halt_unless_same_topics(self, ownership: Ownership, lane: RecorderLane) -> None:
        """Compares the topics with those that the partition began with, which Postgres keeps."""
        identity = self.world.kafka.identity()
        if lane.halted_why is not None:
            raise HaltedError(lane.halted_why)
        reason = partitions_reason(lane.identity, identity)
        if reason is None and not lane.continued:
            reason = topics_reason(lane.identity, identity, (TRANSFERS, BALANCES))
        if reason is not None:
            raise HaltedError(reason)
        ownership.checked_at = self.world.now

    def start_offset(self, log: Log) -> int:
        """Returns the group's offset, which the log must hold."""
        offset = self._committed(log)
        if reason := unreadable_reason(TRANSFERS, log.first, log.last_stable, offset):
            raise HaltedError(reason)
        return offset

    def _committed(self, log: Log) -> int:
        committed = self.world.kafka.offsets.get((GROUP, log.name))
        return committed.offset if committed else 0

    def _read_all_balances(self, ownership: Ownership) -> Steps:
        """Restores all balances since the last call. Waits for open transactions (decision 7)."""
        log = self.world.kafka.log(BALANCES, ownership.number)
        end, until = log.end, self.world.now + OPEN_SECONDS
        while log.last_stable < end:
            if self.world.now > until:
                raise ConnectionLostError
            yield POLL_SECONDS
        records, ownership.next_balance = log.read(ownership.next_balance)
        for record in records:
            restore(ownership, record)

    def read_balances(self, ownership: Ownership) -> None:
        """Restores what others have written since the last call. An erasure removes its account.

        The partition is claimed again if it was not read for so long that erasures may be gone.
        """
        log, changed = self.world.kafka.log(BALANCES, ownership.number), set[bytes | None]()
        if ownership.next_balance < log.nulls_from:
            raise ConnectionLostError
        records, ownership.next_balance = log.read(ownership.next_balance)
        for record in records:
            if record.key in changed or not is_own(ownership, record):
                changed.add(record.key)
                restore(ownership, record)

    def _read_transfers(self, ownership: Ownership, log: Log) -> None:
        """Compares the record that the newest balance names, and remembers the ids of recent transfers."""
        rejected, newest = self.world.postgres.recorder.rejected_offsets(log.name), ownership.check.newest
        for record in log.read(log.first)[0]:
            if newest is not None and newest.offset == record.offset:
                ownership.check.check_record(record.offset, _fingerprint(record))
            if ownership.next_offset - WINDOW <= record.offset < ownership.next_offset:
                transfer = _decode(record)
                if isinstance(transfer, Transfer) and record.offset not in rejected:
                    ownership.ledger.remember_id(Offset(record.offset), record.key, transfer)

    # --- a batch

    def _record(self, ownership: Ownership) -> Steps:
        log, producer = self.world.kafka.log(TRANSFERS, ownership.number), ownership.producer
        assert producer is not None
        if self.world.now - ownership.checked_at >= CHECK_SECONDS:
            self._halt_unless_same_topics(ownership, self.world.postgres.recorder.lane(ownership.number))
        records, _ = log.read(ownership.next_offset, BATCH)
        yield 0.0
        self.read_balances(ownership)
        if not records:
            return
        transfers = [transfer for record in records if isinstance(transfer := _decode(record), Transfer)]
        if ownership.ledger.has_unknown_account(transfers):
            yield from self._read_all_balances(ownership)
        decided = [*takewhile(lambda _: ownership.rejects <= MAX_REJECTS, self._decide(ownership, records))]
        yield 0.0
        rejected = [(record, decision) for record, decision in decided if decision.verdict in REJECTS]
        self.world.postgres.recorder.quarantine(
            [quarantine_row(record, each.reason) for record, each in rejected]
        )
        if decided:
            yield from self._write(ownership, producer, decided)
            self.world.oracles.on_recorded(log, ownership.recorded_upto, [record for record, _ in decided])
            ownership.recorded_upto = ownership.next_offset
        if len(decided) < len(records):
            raise HaltedError(f"more than {MAX_REJECTS} consecutive transfers were rejected")

    def _decide(self, ownership: Ownership, records: Sequence[Record]) -> Iterator[tuple[Record, Decision]]:
        for record in records:
            transfer = _decode(record)
            if isinstance(transfer, DecodeError):
                decision = Decision(Verdict.UNDECODABLE, reason=str(transfer))
            else:
                decision = ownership.ledger.apply(Offset(record.offset), record.key, transfer)
            ownership.rejects = ownership.rejects + 1 if decision.verdict in REJECTS else 0
            yield record, decision

    def _write(
        self, ownership: Ownership, producer: Producer, decided: Sequence[tuple[Record, Decision]]
    ) -> Steps:
        """Writes the balances and the next offset in a transaction."""
        producer.begin()
        balances = self.world.kafka.log(BALANCES, ownership.number)
        for record, decision in decided:
            offset = Offset(record.offset)
            source = Source(ownership.topic_id, Lane(ownership.number), offset, _fingerprint(record))
            headers = ((SOURCE, source.encode()), (SOURCE_OFFSET, str(offset).encode()))
            for balance in decision.balances:
                key = balance.account.encode()
                producer.send(balances, key, JSON.encode_balance(balance), headers)
                ownership.check.advance(source)
                yield 0.0
                if balance.version == 0:
                    value = encode_lifecycle(Opened(balance.account, balance.amount))
                    producer.send(self.world.kafka.log(LIFECYCLE, ownership.number), key, value)
                    yield 0.0
        next_offset = decided[-1][0].offset + 1
        producer.send_offset(GROUP, Partition(TRANSFERS, ownership.number), next_offset)
        yield 0.0
        producer.commit()
        ownership.next_offset = next_offset
        ownership.check.end = Offset(max(ownership.check.end, next_offset))


def restore(ownership: Ownership, record: Record) -> None:
    """Applies a record of the topic of balances to the ledger."""
    balance, check = decode_balance(record, JSON), ownership.check
    if isinstance(balance, Erasure):
        bound = balance.transfers
        is_of_topic = bound is not None and check.is_of(str(bound.topic_id))
        ownership.ledger.remove(balance.account, bound.before if bound is not None and is_of_topic else None)
    elif not isinstance(balance, Rejected):
        ownership.ledger.restore(balance, check.offset(source_of(record.headers)))


def is_own(ownership: Ownership, record: Record) -> bool:
    """Returns whether an owner of the partition has written a balance."""
    source = dict(record.headers).get(SOURCE) or b""
    return record.value is not None and source.startswith(
        f"{ownership.topic_id}/{ownership.number}@".encode()
    )


def _decode(record: Record) -> Transfer | DecodeError:
    try:
        return JSON.decode_transfer(record.value or b"")
    except DecodeError as error:
        return error


def _fingerprint(record: Record) -> bytes:
    return fingerprint(record.key, record.value, record.timestamp)
