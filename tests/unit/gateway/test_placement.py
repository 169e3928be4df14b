"""Property tests of the placement of channels in a Redis cluster whose slots move at any time."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from livebalance.gateway.redis.pending import PendingSubscriptions
from livebalance.gateway.redis.placement import Placement, SingleNode
from livebalance.runtime.redis.url import RedisNode
from tests.mutation.conviction import convicted_by

NODES = [RedisNode(f"10.0.0.{number}", 6379) for number in range(3)]
CHANNELS = [b"0-0", b"0-1", b"1-0"]  # slot and number


def slot(channel: bytes) -> int:
    return int(channel[:1])


class Owners:
    """The owners of the two slots."""

    def __init__(self, owners: dict[int, RedisNode]) -> None:
        self.owners = owners
        self.nodes = set(owners.values())

    def owner(self, channel: bytes) -> RedisNode | None:
        return self.owners.get(slot(channel))


class Server:
    """A Redis node: it executes commands in order, and its answers and pushes arrive in order."""

    def __init__(self) -> None:
        self.subscribed: set[bytes] = set()
        self.commands: deque[tuple[str, list[bytes]]] = deque()
        self.answers: deque[tuple[str, Any]] = deque()

    def lose_slot(self, lost: int) -> None:
        for channel in sorted(channel for channel in self.subscribed if slot(channel) == lost):
            self.subscribed.discard(channel)
            self.answers.append(("unsubscribed", channel))

    def execute(self, owned_slots: set[int]) -> None:
        command, channels = self.commands.popleft()
        if slot(channels[0]) not in owned_slots:
            self.answers.append(("moved", slot(channels[0])))
            return
        for channel in channels:
            (self.subscribed.add if command == "subscribed" else self.subscribed.discard)(channel)
            self.answers.append((command, channel))


class World:
    """A gateway and its servers. `owners` is current; the gateway may read an older map of `past_owners`."""

    def __init__(self) -> None:
        self.owners = {number: NODES[number] for number in range(2)}
        self.past_owners = [Owners(dict(self.owners))]
        self.servers = {node: Server() for node in NODES}
        self.placement = Placement()
        self.pending = {node: PendingSubscriptions() for node in NODES}
        self.wanted: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.lossy: set[bytes] = set()  # a message was lost, and the channel was not acknowledged again since

    def step(self, action: int, index: int, node_index: int) -> None:
        channel, node = CHANNELS[index % len(CHANNELS)], NODES[node_index % len(NODES)]
        (
            self.want,
            self.unwant,
            self.move_slot,
            lambda channel, node: self.execute_command(node),
            lambda channel, node: self.read_answer(node),
            lambda channel, node: self.read_owners(self.past_owners[index % len(self.past_owners)]),
            self.publish,
            lambda channel, node: self.exchange(),
            lambda channel, node: self.send(),
        )[action](channel, node)

    def want(self, channel: bytes, _: RedisNode) -> None:
        if channel not in self.wanted:
            self.wanted.add(channel)
            self.placement.add([channel])

    def unwant(self, channel: bytes, _: RedisNode) -> None:
        for channels in (self.wanted, self.acknowledged, self.lossy):
            channels.discard(channel)
        self.placement.remove([channel])

    def move_slot(self, channel: bytes, node: RedisNode) -> None:
        previous = self.owners[slot(channel)]
        if previous != node:
            self.owners[slot(channel)] = node
            self.past_owners.append(Owners(dict(self.owners)))
            self.servers[previous].lose_slot(slot(channel))

    def publish(self, channel: bytes, _: RedisNode) -> None:
        owner = self.owners[slot(channel)]
        if channel in self.acknowledged and channel not in self.servers[owner].subscribed:
            self.lossy.add(channel)

    def read_owners(self, owners: Owners) -> None:
        self.placement.set_owners(owners)
        self.send()

    def send(self) -> None:
        for node, changes in self.placement.drain().items():
            for channel, subscribe in changes.items():
                if subscribe:
                    self.pending[node].add(slot(channel), [channel])
                command = "subscribed" if subscribe else "unsubscribed"
                self.servers[node].commands.append((command, [channel]))

    def execute_command(self, node: RedisNode) -> None:
        if self.servers[node].commands:
            self.servers[node].execute({number for number, owner in self.owners.items() if owner == node})

    def read_answer(self, node: RedisNode) -> None:
        """Does what `Subscriber` does with an answer."""
        if not self.servers[node].answers:
            return
        kind, subject = self.servers[node].answers.popleft()
        pending = self.pending[node]
        if kind == "moved":
            self.placement.reject(node, pending.reject_slot(subject))
        elif kind == "subscribed":
            if pending.acknowledge(subject) and self.placement.is_at(subject, node):
                if self.placement.acknowledge([subject]):
                    self.lossy.discard(subject)
                self.acknowledged.add(subject)
        elif subject not in pending and self.placement.is_at(subject, node):
            self.placement.reject(node, [subject])

    def settle(self) -> None:
        """Slots move no more, and the gateway reads the owners until every channel has a node."""
        for _ in range(3):
            self.read_owners(Owners(self.owners))
            self.exchange_all()

    def exchange_all(self) -> None:
        self.send()
        while any(server.commands or server.answers for server in self.servers.values()):
            self.exchange()

    def exchange(self) -> None:
        for node in NODES:
            self.execute_command(node)
            self.read_answer(node)


Steps = list[tuple[int, int, int]]
ACTIONS = [0, 0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 7, 7, 8, 8, 8]  # indexes of the actions in `World.step`


def _step(byte: int) -> tuple[int, int, int]:
    return ACTIONS[byte % 16], byte // 16, byte // 16 // len(CHANNELS)


# A byte for each step: Hypothesis draws bytes much faster than tuples.
steps_of_a_run = st.binary(min_size=40, max_size=120).map(lambda data: [_step(byte) for byte in data])
many = settings(max_examples=10 * settings().max_examples)  # a run takes little more than a millisecond


def check_cluster(steps: Steps) -> None:
    """Each wanted channel ends up subscribed at its owner alone, and every loss of messages is noticed."""
    world = World()
    world.read_owners(world.past_owners[0])
    for step in steps:
        world.step(*step)
    world.settle()
    assert not world.placement.has_unplaced()
    assert world.acknowledged == world.wanted
    for node in NODES:
        owned = {channel for channel in world.wanted if world.owners[slot(channel)] == node}
        assert world.servers[node].subscribed == owned == set(world.placement.channels_at(node))
    assert not world.lossy


# The first of two commands is rejected, the second is not, and then the channel is not wanted any more.
_REJECTED_THEN_ACCEPTED = [
    *[(0, 0, 0), (0, 1, 0), (8, 0, 0), (7, 0, 0), (2, 0, 1), (7, 0, 0), (2, 0, 0), (5, 0, 0)],
    *[(7, 0, 0), (1, 0, 0)],
]
_REJECTED_THEN_ACCEPTED_LATER = [
    *[(0, 0, 0), (0, 1, 0), (8, 0, 0), (7, 0, 0), (2, 0, 1), (3, 0, 0), (2, 0, 0), (7, 0, 0)],
    *[(5, 0, 0), (7, 0, 0), (5, 1, 0), (1, 0, 0)],
]


@given(steps_of_a_run)
@example(_REJECTED_THEN_ACCEPTED)
@example(_REJECTED_THEN_ACCEPTED_LATER)
@many
def test_every_wanted_channel_is_subscribed_at_its_owner_once_slots_stop_moving(steps: Steps) -> None:
    check_cluster(steps)


def check_single_server(steps: Steps) -> None:
    """A single server owns every channel. The owners are not read again, so no channel may lose its node."""
    world = World()
    world.owners = dict.fromkeys(world.owners, NODES[0])
    world.read_owners(Owners(world.owners))
    for action, index, _ in steps:
        if action not in (2, 5):  # moving slots and reading owners
            world.step(action, index, 0)
    world.exchange_all()
    assert not world.placement.has_unplaced()
    assert world.acknowledged == world.wanted == world.servers[NODES[0]].subscribed


@given(steps_of_a_run)
@many
def test_every_wanted_channel_is_subscribed_at_a_single_server_without_reading_owners_again(
    steps: Steps,
) -> None:
    check_single_server(steps)


Check = Callable[[Steps], None]

# Parts of the assertions of the checks.
WANTED = "world.acknowledged == world.wanted"
OWNED = "world.servers[node].subscribed == owned"
PLACED = "not world.placement.has_unplaced()"
LOSSLESS = "not world.lossy"


@contextmanager
def patched(target: Any, name: str, mutant: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, name, mutant)
        yield


@pytest.mark.mutant
@pytest.mark.parametrize(
    ("check", "target", "name", "mutant", "reason"),
    [
        (check_cluster, Placement, "reject", lambda self, node, channels: None, OWNED),
        (check_cluster, Placement, "acknowledge", lambda self, channels: False, LOSSLESS),
        (check_cluster, Placement, "is_at", lambda self, channel, node: True, WANTED),
        (check_cluster, PendingSubscriptions, "reject_slot", lambda self, slot: [], OWNED),
        (check_single_server, PendingSubscriptions, "__contains__", lambda self, channel: False, PLACED),
        (check_single_server, PendingSubscriptions, "acknowledge", lambda self, channel: False, WANTED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_check_finds_the_mutant(check: Check, target: Any, name: str, mutant: Any, reason: str) -> None:
    search = settings(max_examples=2000, phases=[Phase.generate], database=None, derandomize=True)(
        given(steps_of_a_run)(check)
    )
    with patched(target, name, mutant), convicted_by(reason):
        search()


def test_placement_at_a_single_node_sends_the_last_change_of_each_channel() -> None:
    placement = Placement()
    placement.add([b"a", b"b"])
    assert placement.has_unplaced()
    assert not placement.drain()
    placement.set_owners(SingleNode(NODES[0]))
    assert not placement.has_unplaced()
    assert placement.drain() == {NODES[0]: {b"a": True, b"b": True}}
    placement.remove([b"a"])
    placement.add([b"a", b"c"])
    assert placement.drain() == {NODES[0]: {b"a": True, b"c": True}}
    assert placement.channels_at(NODES[0]) == [b"b", b"a", b"c"]
    assert placement.any_channel_at(NODES[1]) is None


def test_placement_of_a_channel_without_owner_waits_for_an_owner() -> None:
    placement = Placement()
    placement.set_owners(Owners({0: NODES[0]}))
    placement.add([b"0-0", b"1-0"])
    assert placement.drain() == {NODES[0]: {b"0-0": True}}
    assert placement.has_unplaced()
    placement.set_owners(Owners({0: NODES[0], 1: NODES[1]}))
    assert not placement.has_unplaced()
    assert placement.drain() == {NODES[1]: {b"1-0": True}}


def test_placement_moves_the_channels_of_a_slot_that_has_another_owner() -> None:
    placement = Placement()
    placement.set_owners(Owners({0: NODES[0], 1: NODES[1]}))
    placement.add([b"0-0", b"1-0"])
    placement.drain()
    placement.set_owners(Owners({0: NODES[1], 1: NODES[1]}))
    assert placement.drain() == {NODES[0]: {b"0-0": False}, NODES[1]: {b"0-0": True}}
    assert placement.channels_at(NODES[1]) == [b"0-0", b"1-0"]


def test_placement_of_a_rejected_channel_leaves_its_last_node_once_it_has_another() -> None:
    placement = Placement()
    placement.set_owners(Owners({0: NODES[0]}))
    placement.add([b"0-0"])
    placement.drain()
    placement.reject(NODES[0], [b"0-0"])
    placement.set_owners(Owners({}))
    assert placement.has_unplaced()
    assert not placement.drain()
    placement.set_owners(Owners({0: NODES[1]}))
    assert placement.drain() == {NODES[0]: {b"0-0": False}, NODES[1]: {b"0-0": True}}


def test_channel_that_is_not_wanted_any_more_is_unsubscribed_and_forgotten() -> None:
    placement = Placement()
    placement.set_owners(SingleNode(NODES[0]))
    placement.add([b"a"])
    placement.drain()
    assert not placement.acknowledge([b"a"])
    placement.remove([b"a"])
    assert placement.drain() == {NODES[0]: {b"a": False}}
    assert not placement._acknowledged


def test_acknowledgement_shows_a_loss_unless_the_channel_was_subscribed_again() -> None:
    placement = Placement()
    placement.set_owners(SingleNode(NODES[0]))
    placement.add([b"a"])
    assert not placement.acknowledge([b"a"])
    assert placement.acknowledge([b"a"])
    placement.add([b"a"])
    assert not placement.acknowledge([b"a"])


def test_single_node_is_the_only_node_and_owns_every_channel() -> None:
    single = SingleNode(NODES[0])
    assert (single.nodes, single.owner(b"a")) == ({NODES[0]}, NODES[0])
