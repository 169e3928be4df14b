"""A world of the whole pipeline: servers as values, processes as tasks, and time that a scheduler moves."""

import math
from typing import NamedTuple
from uuid import UUID

from livebalance.generator.transfers import account_id
from livebalance.wire.identity import AccountId
from livebalance.wire.timestamp import Millis
from tests.simulation.world.client import Client
from tests.simulation.world.convergence import RECREATED, REJECTED, Convergence
from tests.simulation.world.feed import Feed
from tests.simulation.world.gateway import Gateway
from tests.simulation.world.operator import Operator
from tests.simulation.world.oracles import OracleError, Oracles
from tests.simulation.world.process import IDLE, Process, Task
from tests.simulation.world.projector import Projector
from tests.simulation.world.recorder import Recorder
from tests.simulation.world.servers.kafka import BALANCES, TRANSFERS, Group, Kafka
from tests.simulation.world.servers.postgres import Postgres
from tests.simulation.world.servers.redis import Redis

START = 1_795_000_000_000
STEP_SECONDS = 0.001
HEAL_SECONDS = 15.0
CHECK_SECONDS = 0.25


class Shape(NamedTuple):
    """How many of each there are. `opened` accounts are opened by the feed, the others by the recorder."""

    seed: int = 1
    lanes: int = 2
    accounts: int = 3
    opened: int = 2
    transfers: int = 6
    recorders: int = 1
    projectors: int = 1
    gateways: int = 1
    clients: int = 1
    feed_pause: float = 0.05  # seconds between two pairs of transfers


class World:
    """All servers and processes. Times are in seconds; `wall` is in ms."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.now = 0.0
        self.running_tasks: list[Task] | None = None  # None: a process has started, ended, paused or woken
        self.accounts = [account_id(number + 1) for number in range(shape.accounts)]
        self.erased: dict[AccountId, int] = {}  # accounts, and how many records were written before
        self.erased_before: dict[tuple[UUID, bytes | None], int] = {}  # offsets in a topic of transfers
        self.contradicted = set[AccountId]()  # whose input contradicts itself
        self.poison = 0  # records that were written and cannot be decoded
        self.has_recreated = self.is_healing = False
        # The recorder finds a repeated id only in records that the topic still has: a world has either.
        self.has_repeats = self.has_deleted = False
        self.has_moved = False  # to another topic of transfers, after all was applied
        self.kafka = Kafka(shape.lanes, START)
        self.postgres = Postgres(self.kafka.identity())
        self.redis = Redis()
        self.oracles, self.convergence = Oracles(self), Convergence(self)
        self.recorders_group = Group(lambda: self.kafka.partitions(TRANSFERS))
        self.projectors_group = Group(lambda: self.kafka.partitions(TRANSFERS))
        self.feed = Feed(self, "feed")
        self.recorders = [Recorder(self, f"recorder-{n + 1}") for n in range(shape.recorders)]
        self.projectors = [Projector(self, f"projector-{n + 1}") for n in range(shape.projectors)]
        self.gateways = [Gateway(self, f"gateway-{n + 1}") for n in range(shape.gateways)]
        self.clients = [Client(self, f"client-{n + 1}") for n in range(shape.clients)]
        self.operator = Operator(self, "operator")
        self.processes: list[Process] = [
            self.operator,
            self.feed,
            *self.recorders,
            *self.projectors,
            *self.gateways,
            *self.clients,
        ]
        for process in self.processes:
            process.start()

    @property
    def wall(self) -> Millis:
        return Millis(START + int(self.now * 1000))

    def lane_of(self, account: AccountId) -> int:
        """Returns the partition that a producer writes an account's records to."""
        return int(account[-1]) % self.kafka.partitions(TRANSFERS)

    def is_continued(self, why: str | None) -> bool:
        """Returns whether an operator lets a lane continue that is halted for this reason.

        This is so after bad records, and after all moved to another topic of transfers.
        """
        return why is not None and (REJECTED in why or (self.has_moved and RECREATED in why))

    def recreate(self, topic: str) -> None:
        """Deletes a topic and creates it again. Consumers notice, and assign its partitions anew."""
        self.has_recreated = True
        self.kafka.create_topic(topic, self.kafka.partitions(topic))
        self.recorders_group.rebalance()
        self.projectors_group.rebalance()

    def compact(self, number: int, *, keeps_nulls: bool) -> None:
        """Compacts a partition of balances.

        Nulls are removed only if all transfers are recorded: a recorder does not stand still for a day.
        """
        is_recorded = self.convergence.is_recorded(number)
        self.kafka.log(BALANCES, number).compact(keeps_nulls=keeps_nulls or not is_recorded)

    # --- steps

    def run_task(self, task: Task) -> None:
        """Runs a step of a task."""
        self.now = now = self.now + STEP_SECONDS
        self.kafka.wall = START + int(now * 1000)
        try:
            wait = next(task.steps)
        except OracleError:
            raise
        except Exception as error:
            raise OracleError("ended", f"{task.process.name} ended: {error!r}") from error
        task.due, task.is_idle = now + wait, wait == IDLE
        if len(self.kafka.written) > self.oracles.checked:
            self.oracles.after_write()

    def advance(self, seconds: float) -> None:
        """Lets all processes run for a while."""
        until = self.now + seconds
        while self.now < until:
            for task in self.due_tasks():
                if task in task.process.tasks:
                    self.run_task(task)

    def due_tasks(self) -> list[Task]:
        """Returns the tasks that are due, after letting time pass until there is one."""
        if self.running_tasks is None:
            running = [process for process in self.processes if not process.is_paused]
            self.running_tasks = [task for process in running for task in process.tasks]
        now, due = self.now, []
        next_due, following = math.inf, []
        for task in self.running_tasks:
            at = task.due
            if at <= now:
                due.append(task)
            elif at < next_due:
                next_due, following = at, [task]
            elif at == next_due:
                following.append(task)
        if not due and following:
            self.now = next_due
        return due or following

    # --- the end

    def heal(self) -> None:
        """Ends the faults. All that is under way arrives within `HEAL_SECONDS`, or an oracle fails."""
        self.is_healing = True
        self.postgres.is_down, self.postgres.doubt, self.kafka.doubt = False, None, None
        for projector in self.projectors:
            projector.at_write = None
        for process in self.processes:
            process.is_paused = False
            if not process.is_alive:
                process.expire()
                process.start()
        for client in self.clients:
            client.loses_delta = False
            if client.socket is not None and client.socket.is_tampered:
                client.socket.close(1006)  # else only the next change would show what was lost
        until = self.now + HEAL_SECONDS
        check_at = 0.0
        while self.now < until:
            if self.now >= check_at:
                check_at = self.now + CHECK_SECONDS
                if self.convergence.waiting() is None:
                    break
            for task in self.due_tasks():
                if task in task.process.tasks:
                    self.run_task(task)
        self.convergence.check_end()
