"""The operator: lets lanes continue, erases accounts, and rebuilds the projection."""

from collections.abc import Sequence

from livebalance.projector.fold.fold import batch_rows, fold
from livebalance.projector.fold.lane import FetchStatus, owned_lane, step
from livebalance.readmodel.rows import BalanceRow
from livebalance.wire.identity import AccountId, Lane, Offset
from tests.simulation.world.codec import JSON
from tests.simulation.world.convergence import RECREATED
from tests.simulation.world.process import Process, Steps
from tests.simulation.world.servers.kafka import BALANCES, TRANSFERS
from tests.simulation.world.servers.postgres import Postgres
from tests.simulation.world.servers.tables import Tables

POLL_SECONDS = 0.5


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
        for lane in list(postgres.tables.lanes.values()):
            why = lane.row.halted_why
            if self.world.is_continued(why):
                row = lane.row._replace(halted_why=None)
                if RECREATED in (why or ""):
                    row = row._replace(
                        transfers_next=Offset(0),
                        transfers_last=None,
                        transfers_fingerprint=None,
                        transfers_topic_id=self.world.kafka.topics[TRANSFERS].id,
                    )
                postgres.set_lane(lane._replace(row=row))

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
                    self._rebuild()
                self.requests = self.requests[1:]

    def _erase(self, account: AccountId) -> Steps:
        """Erases an account, and lets nobody write to it before SQL has erased it."""
        world = self.world
        row = world.postgres.tables.balances.get(account)
        if row is None or row.balance is None:
            return
        log = world.kafka.log(BALANCES, world.lane_of(account))
        offset = log.end
        world.erased[account] = len(world.kafka.written)
        world.kafka.append(log, account.encode(), None)
        while world.postgres.tables.lanes[Lane(log.name.number)].row.balances_next <= offset:
            if self.world.convergence.is_halted_for_good(log.name.number):
                return
            yield POLL_SECONDS

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

    def _rebuild(self) -> None:
        """Reads both topics from their start into an empty projection, and replaces the present one by it.

        A rebuild that contradicts what is there is refused: compaction may have removed the openings.
        """
        postgres, kafka = self.world.postgres, self.world.kafka
        for log in kafka.topics[BALANCES].logs:
            log.compact()
        self.world.has_compacted = True
        if self.world.has_recreated or any(log.first for log in kafka.topics[TRANSFERS].logs):
            return
        tables = self._rebuilt()
        if self.agrees(postgres.tables, tables):
            postgres.replace(tables)

    def agrees(self, present: Tables, rebuilt: Tables) -> bool:
        """Returns whether openings and disputes of every account are the same."""
        return all(
            account in rebuilt.balances and _facts(row) == _facts(rebuilt.balances[account])
            for account, row in present.balances.items()
        )

    def _rebuilt(self) -> Tables:
        present, kafka = self.world.postgres, self.world.kafka
        scratch = Postgres(kafka.identity())
        scratch.tables = scratch.tables._replace(epoch=present.new_epoch(), timeline=present.timeline)
        status = FetchStatus(False, None)
        for number, stored in present.tables.lanes.items():
            logs = kafka.log(TRANSFERS, number), kafka.log(BALANCES, number)
            row = scratch.tables.lanes[number].row._replace(
                epoch=scratch.tables.epoch, generation=stored.row.generation + 1
            )
            scratch.set_lane(stored._replace(row=row, as_of=None))
            records = logs[0].read(logs[0].first)[0], logs[1].read(logs[1].first)[0]
            lane_step = step(owned_lane(row, TRANSFERS, BALANCES), records, (status, status), JSON, 1000)
            rows = batch_rows([lane_step], fold(lane_step.records, {}, {}), "EUR")
            scratch.commit(scratch.write(rows))
        return scratch.tables


def _facts(row: BalanceRow) -> tuple[object, ...]:
    return row.opening, row.disputed_since is None, row.posted_total
