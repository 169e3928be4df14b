"""Schedules: what a seed makes happen, in order. The same schedule always gives the same run."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tests.simulation.world.faults import FAULTS, GROUPS
from tests.simulation.world.world import Shape, World

MAX_ACTIONS = 36
RUN, WAIT, ADVANCE = "run", "wait", "advance"
WAITS = (0.3, 1.0, 3.0, 11.0)  # seconds in which no task runs
NAMES = sorted(GROUPS)
ADVANCES = (0.1, 0.2, 0.3, 0.5)  # seconds in which all tasks run


class Action(NamedTuple):
    """A step of tasks, a wait, or a fault. The numbers choose among what there is at the time."""

    kind: str
    a: int
    b: int


class Schedule(NamedTuple):
    """The size of the world, and what happens in it before the faults end."""

    shape: Shape
    actions: Sequence[Action]


def make_schedule(seed: int, groups: Sequence[str] = ()) -> Schedule:
    """Returns the schedule of a seed. It has only a few kinds of faults, so that they meet each other.

    With `groups` it has these kinds.
    """
    random = Random(seed)
    below = random.randrange
    shape = Shape(
        seed=seed,
        lanes=1 + below(2),
        accounts=2 + below(2),
        opened=below(4) % 3,
        transfers=1 + below(5),
        recorders=1 + below(3) // 2,
        projectors=1 + below(2),
        gateways=1 + below(3) // 2,
        clients=1 + below(3) // 2,
        feed_pause=random.choice((0.05, 0.5, 3.0)),
    )
    names = groups or random.sample(NAMES, 1 + below(3))
    kinds = [fault for name in names for fault in GROUPS[name]]
    rate = random.choice((0.05, 0.15, 0.3))
    actions = []
    for _ in range(MAX_ACTIONS - below(20)):
        if random.random() < rate:
            kind = kinds[below(len(kinds))].__name__
            actions.append(Action(kind, below(64), below(64)))
        elif below(12):
            actions.append(Action(RUN, below(64), 1 << below(5)))
        else:
            actions.append(Action((WAIT, ADVANCE)[below(2)], below(len(WAITS)), 0))
    return Schedule(shape, actions)


def run_schedule(schedule: Schedule, trace: bool = False) -> World:
    """Runs a schedule, heals the world and checks it. Raises OracleError, or the exception of a bug."""
    world = World(schedule.shape)
    for action in schedule.actions:
        if trace:
            print(f"{world.now:8.3f} {action.kind} {action.a} {action.b}")
        perform(world, action)
    if trace:
        print(f"{world.now:8.3f} heal")
    world.heal()
    return world


def perform(world: World, action: Action) -> None:
    if action.kind == WAIT:
        world.now += WAITS[action.a]
    elif action.kind == ADVANCE:
        world.advance(ADVANCES[action.a])
    elif action.kind == RUN:
        if not (due := world.due_tasks()):
            return
        task = due[action.a % len(due)]
        for _ in range(action.b):
            world.run_task(task)
            if task.due > world.now:
                return
    else:
        FAULTS[action.kind](world, action.a, action.b)
