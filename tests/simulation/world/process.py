"""Processes: each runs some tasks, which are generators that yield the seconds until their next step."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world.world import World

Steps = Generator[float, None, None]


IDLE = 1.0  # seconds that a task waits for input, unless its process is woken


class Task:
    """A task, and the time (s) at which its next step is due."""

    __slots__ = ("due", "is_idle", "process", "steps")

    def __init__(self, process: "Process", steps: Steps, due: float) -> None:
        self.process, self.steps, self.due = process, steps, due
        self.is_idle = False


class Process:
    """A process that may be killed, paused and started. Subclasses create what a start creates."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.tasks: list[Task] = []
        self.is_paused = False

    @property
    def is_paused(self) -> bool:
        return self._is_paused

    @is_paused.setter
    def is_paused(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        self.world.running_tasks = None

    @property
    def is_alive(self) -> bool:
        return bool(self.tasks)

    def start(self) -> None:
        """Starts the process without anything of its former life."""
        self.is_paused = False
        self.tasks = [Task(self, steps, self.world.now) for steps in self.create()]

    def wake(self) -> None:
        """Lets the tasks that wait for input look for it."""
        for task in self.tasks:
            if task.is_idle:
                task.due, task.is_idle = self.world.now, False

    def kill(self) -> None:
        self.tasks = []
        self.world.running_tasks = None
        self.on_killed()

    def expire(self) -> None:
        """Lets its group, if any, notice that it no longer sends heartbeats."""

    def on_killed(self) -> None:
        """Closes what the operating system closes."""

    def create(self) -> Sequence[Steps]:
        """Returns the tasks of a new life."""
        raise NotImplementedError
