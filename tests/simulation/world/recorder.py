"""The recorder's shell: claims a partition, restores its ledger, then applies and writes in transactions.

The order of the steps is that of `livebalance.recorder`. Each decision is the ledger's.
"""

from collections.abc import Sequence

from livebalance.recorder.ledger import NO_OFFSET, Ledger
from livebalance.wire.errors import DecodeError
from livebalance.wire.identity import AccountId, Offset
from livebalance.wire.kafka.codec import JSON
from livebalance.wire.kafka.record import Transfer, rejection_reason
from tests.simulation.world.group import Member
from tests.simulation.world.kafka import (
    BALANCES,
    OTHER_TOPICS,
    TRANSFERS,
    ConnectionLostError,
    OffsetOutOfRangeError,
    Partition,
    Producer,
    ProducerFencedError,
    Record,
)
from tests.simulation.world.postgres import Identity, RecorderLane
from tests.simulation.world.process import Process, Steps

GROUP = "recorder"
WINDOW = 1000  # offsets
BATCH = 3
POLL_SECONDS = 0.1
CHECK_SECONDS = 10.0  # between two comparisons of the topics' identity
SOURCE_OFFSET, SOURCE_TOPIC = b"source-offset", b"source-topic-id"


class HaltedError(Exception):
    """The partition must wait for an operator."""


class Ownership:
    """A partition that a recorder believes to own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.ledger = Ledger(WINDOW)
        self.next_offset = self.balances_next = 0
        self.topic_id = ""
        self.producer: Producer | None = None
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
                except HaltedError as halted:
                    self._halt(number, str(halted))
                    owned[number] = Ownership(number)
                except (ProducerFencedError, ConnectionLostError, OffsetOutOfRangeError):
                    owned.pop(number, None)
                    yield POLL_SECONDS
            if self._continued(owned):
                owned.clear()
            yield POLL_SECONDS

    def _continued(self, owned: dict[int, Ownership]) -> bool:
        """Returns whether an operator has let a halted partition continue."""
        lanes = self.world.postgres.recorder_lanes
        return any(
            ownership.producer is None and number in lanes and lanes[number].halted_why is None
            for number, ownership in owned.items()
        )

    def _halt(self, number: int, why: str) -> None:
        lanes = self.world.postgres.recorder_lanes
        known = lanes.get(number) or RecorderLane(self.world.kafka.identity(), None)
        lanes[number] = known._replace(halted_why=why)

    # --- the claim

    def _claim(self, ownership: Ownership) -> Steps:
        kafka, number = self.world.kafka, ownership.number
        ownership.producer = kafka.start_producer(f"recorder-{TRANSFERS}-{number}")
        yield 0.0
        self.check_identity(ownership)
        ownership.next_offset = self.start_offset(number)
        ownership.topic_id = kafka.topics[TRANSFERS].id
        yield 0.0
        ownership.balances_next = kafka.log(BALANCES, number).first
        self.read_balances(ownership)
        yield 0.0
        log = kafka.log(TRANSFERS, number)
        for record in log.read(max(log.first, ownership.next_offset - WINDOW))[0]:
            if record.offset < ownership.next_offset:
                transfer = self._decode(record)
                if transfer is not None:
                    ownership.ledger.remember_id(Offset(record.offset), record.key, transfer)
        yield 0.0

    def check_identity(self, ownership: Ownership) -> None:
        """Compares the topics with those that the partition began with, which Postgres keeps."""
        lanes = self.world.postgres.recorder_lanes
        identity = self.world.kafka.identity()
        known = lanes.get(ownership.number)
        if known is None:  # a partition that was added begins with the topics of the others
            began_with = next((lane.identity for lane in lanes.values()), identity)
            known = lanes[ownership.number] = RecorderLane(began_with, None)
        if known.halted_why is not None:
            raise HaltedError(known.halted_why)
        if self.differs(known.identity, identity):
            raise HaltedError(OTHER_TOPICS)
        ownership.checked_at = self.world.now

    def differs(self, known: Identity, identity: Identity) -> bool:
        return known != identity

    def start_offset(self, number: int) -> int:
        """Returns the group's offset, which the log must hold."""
        log = self.world.kafka.log(TRANSFERS, number)
        committed = self.world.kafka.offsets.get((GROUP, Partition(TRANSFERS, number)))
        offset = committed.offset if committed else 0
        if not log.first <= offset <= log.end:
            raise HaltedError("history was lost")
        return offset

    def read_balances(self, ownership: Ownership) -> None:
        """Restores the balances that were written since the last call. An erasure removes its account."""
        log = self.world.kafka.log(BALANCES, ownership.number)
        records, ownership.balances_next = log.read(ownership.balances_next)
        for record in records:
            if record.value is None:
                ownership.ledger.remove(AccountId((record.key or b"").decode()))
                continue
            balance = JSON.decode_balance(record.value)
            if rejection_reason(balance, record.key) is None:
                ownership.ledger.restore(balance, self.source(record, ownership.topic_id))

    def source(self, record: Record, topic_id: str) -> Offset:
        """Returns the offset of the transfer that made a balance, unless it was in another topic."""
        headers = dict(record.headers)
        if headers.get(SOURCE_TOPIC) != topic_id.encode():
            return NO_OFFSET
        return Offset(int(headers[SOURCE_OFFSET] or -1))

    # --- a batch

    def _record(self, ownership: Ownership) -> Steps:
        kafka, number, producer = self.world.kafka, ownership.number, ownership.producer
        assert producer is not None
        if self.world.now - ownership.checked_at >= CHECK_SECONDS:
            self.check_identity(ownership)
        records, _ = kafka.log(TRANSFERS, number).read(ownership.next_offset, BATCH)
        if not records:
            return
        yield 0.0
        self.read_balances(ownership)
        decoded = [(record, self._decode(record)) for record in records]
        decisions = [
            (record, ownership.ledger.apply(Offset(record.offset), record.key, transfer))
            for record, transfer in decoded
            if transfer is not None
        ]
        yield 0.0
        producer.begin()
        for record, decision in decisions:
            headers = (
                (SOURCE_OFFSET, str(record.offset).encode()),
                (SOURCE_TOPIC, ownership.topic_id.encode()),
            )
            for balance in decision.balances:
                producer.send(
                    kafka.log(BALANCES, number),
                    balance.account.encode(),
                    JSON.encode_balance(balance),
                    headers,
                )
                yield 0.0
        next_offset = records[-1].offset + 1
        producer.send_offset(GROUP, Partition(TRANSFERS, number), next_offset)
        yield 0.0
        producer.commit()
        ownership.next_offset = next_offset

    def _decode(self, record: Record) -> Transfer | None:
        try:
            return JSON.decode_transfer(record.value or b"")
        except DecodeError:
            return None
