"""The operator: lets lanes continue, erases accounts, and rebuilds the projection."""

from collections.abc import Sequence

from livebalance.projector.fold.account import account_from_row
from livebalance.projector.fold.erasures import overtaken_erasures
from livebalance.projector.fold.fold import account_ids, batch_rows, fold, transfer_keys
from livebalance.projector.fold.lane import FetchStatus, LaneStep, decode, lifecycle_step, owned_lane, step
from livebalance.wire.identity import AccountId, Lane, Offset
from livebalance.wire.kafka.lifecycle import ERASURE, Bound, Erased, encode_erasure_header, encode_lifecycle
from tests.pieces import finish
from tests.simulation.world.codec import JSON
from tests.simulation.world.convergence import RECREATED
from tests.simulation.world.process import Process, Steps
from tests.simulation.world.servers.kafka import (
    BALANCES,
    LIFECYCLE,
    TRANSFERS,
    ConnectionLostError,
    Log,
    ProducerFencedError,
    Record,
)
from tests.simulation.world.servers.postgres import Postgres
from tests.simulation.world.servers.tables import Tables

POLL_SECONDS = 0.5
ERASER = "erase-transfers"  # transactional id
MAX_REJECTS = 1000  # of a replay


class Operator(Process):
    """Works through `requests`: an erasure, a rebuild, or a move to another topic."""

    requests: list[tuple[str, AccountId]]

    def create(self) -> Sequence[Steps]:
        self.requests = []
        return self._continue(), self._work()

    # --- halted lanes

    def _continue(self) -> Steps:
        """Lets lanes continue after bad records, and after all moved to another topic of transfers."""
        while True:
            yield POLL_SECONDS
            self._continue_recorders()
            self._continue_projectors()

    def _continue_recorders(self) -> None:
        postgres = self.world.postgres
        for number in range(self.world.kafka.partitions(TRANSFERS)):
            if self.world.is_continued(postgres.recorder.halted_why(number)):
                postgres.recorder.update(number, halted_why=None, continued=True)

    def _continue_projectors(self) -> None:
        postgres = self.world.postgres
        for number, lane in list(postgres.tables.lanes.items()):
            if self.world.is_continued(why := lane.row.halted_why):
                if RECREATED in (why or ""):
                    kafka = self.world.kafka
                    postgres.restart_lane(kafka.log(TRANSFERS, number), kafka.log(BALANCES, number))
                postgres.continue_lane(number)

    # --- work at rest

    def _work(self) -> Steps:
        """Works once all is applied. The feed waits meanwhile."""
        world = self.world
        while True:
            yield POLL_SECONDS
            if not self.requests:
                continue
            if any(
                world.convergence.is_halted_for_good(lane)
                for lane in range(world.kafka.partitions(TRANSFERS))
            ):
                self.requests.clear()
            elif not world.postgres.is_down and self.is_drained():
                work, account = self.requests[0]
                if work == "erase":
                    yield from self._erase(account)
                elif work == "move":
                    self._move()
                else:
                    self._compact_and_rebuild()
                self.requests = self.requests[1:]

    def _erase(self, account: AccountId) -> Steps:
        """Erases an account, and lets nobody write to it before SQL has erased it."""
        world = self.world
        if account not in world.postgres.tables.balances:
            return
        lane = Lane(world.lane_of(account))
        world.erased[account] = len(world.kafka.written)
        while True:
            try:
                yield from self._write_erasure(account, lane)
                break
            except (ConnectionLostError, ProducerFencedError):
                yield POLL_SECONDS  # an erasure whose outcome is unknown is repeated
        while world.convergence.waiting_lane(lane):
            if world.convergence.is_halted_for_good(lane):
                return
            yield POLL_SECONDS

    def _write_erasure(self, account: AccountId, lane: Lane) -> Steps:
        """Writes the null, and the record that nothing compacts, in a transaction."""
        kafka, key = self.world.kafka, account.encode()
        producer = kafka.start_producer(ERASER)
        yield 0.0
        transfers, balances = kafka.log(TRANSFERS, lane), kafka.log(BALANCES, lane)
        bound = Bound(transfers.topic_id, Offset(transfers.end))
        self.world.erased_before[transfers.topic_id, key] = transfers.end
        yield 0.0
        producer.begin()
        offset = Offset(balances.end)
        producer.send(balances, key, None, ((ERASURE, encode_erasure_header(bound)),))
        yield 0.0
        erased = Erased(account, bound, Bound(balances.topic_id, offset))
        producer.send(kafka.log(LIFECYCLE, lane), key, encode_lifecycle(erased))
        yield 0.0
        producer.commit()

    def _move(self) -> None:
        """Creates the topic of transfers anew. The lanes halt, and continue at its start."""
        world = self.world
        if not world.has_recreated and len(world.kafka.topics[TRANSFERS].logs) == world.shape.lanes:
            world.has_moved = world.has_recreated = True
            world.recreate(TRANSFERS)

    def is_drained(self) -> bool:
        """Returns whether everything that was written is applied, and nothing is being written."""
        kafka, convergence = self.world.kafka, self.world.convergence
        return (
            not kafka.open_transactions
            and self.world.feed.unsent is None
            and not any(convergence.is_halted(lane) for lane in range(kafka.partitions(TRANSFERS)))
            and not any(convergence.waiting_lane(lane) for lane in range(kafka.partitions(TRANSFERS)))
        )

    # --- a rebuild

    def _compact_and_rebuild(self) -> None:
        """Rebuilds the projection after compaction has removed old balances, and the nulls of erasures."""
        for number in range(self.world.kafka.partitions(BALANCES)):
            self.world.compact(number, keeps_nulls=False)
        self.rebuild()

    def rebuild(self) -> None:
        """Replays the topics into a shadow, compares it with the projection, and swaps it in."""
        postgres, kafka = self.world.postgres, self.world.kafka
        if (
            self.world.has_recreated
            or not postgres.is_known
            or kafka.partitions(TRANSFERS) != postgres.tables.partitions
            or any(log.first for log in kafka.topics[TRANSFERS].logs)
        ):
            return
        shadow = self.replayed()
        self.world.oracles.on_replay(postgres.tables, shadow)
        postgres.swap(shadow)

    def replayed(self) -> Tables:
        """Returns what a replay up to the offsets of the projection makes."""
        present, kafka = self.world.postgres.tables, self.world.kafka
        shadow = Postgres(kafka.identity())
        status = FetchStatus(False, None)
        for number, stored in present.lanes.items():
            shadow.claim(number, kafka.topics[LIFECYCLE].id)
            lane = owned_lane(shadow.tables.lanes[number].row, TRANSFERS, BALANCES, LIFECYCLE)
            apply(shadow, lifecycle_step(lane, self.lifecycle_records(number), MAX_REJECTS))
            records = (
                read_until(kafka.log(TRANSFERS, number), stored.row.transfers_next),
                read_until(kafka.log(BALANCES, number), stored.row.balances_next),
            )
            apply(shadow, step(lane, finish(decode(lane, records, JSON)), (status, status), MAX_REJECTS))
        return shadow.tables

    def lifecycle_records(self, lane: Lane) -> list[Record]:
        """Returns the openings and erasures, which a replay applies before all other records."""
        return self.world.kafka.log(LIFECYCLE, lane).read(0)[0]


def read_until(log: Log, end: Offset) -> list[Record]:
    return [record for record in log.read(log.first)[0] if record.offset < end]


def apply(postgres: Postgres, lane_step: LaneStep) -> None:
    """Writes a step as a projector does."""
    batch = lane_step.records
    accounts = {row.account: account_from_row(row) for row in postgres.stored_balances(account_ids(batch))}
    listed = postgres.listed_transfers(transfer_keys(batch))
    survivors = postgres.listed_since(overtaken_erasures(batch, accounts))
    folded = fold(batch, accounts, listed, survivors=survivors)
    postgres.commit(postgres.write(batch_rows([lane_step], folded, "EUR")))
    lane_step.advance_lane()
