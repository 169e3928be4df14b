"""Channels of a Redis cluster: each is heard at its owner, however slots move and whatever is on its way."""

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

NODES = [RedisNode(f"10.0.0.{number}", 6379) for number in range(3)]
CHANNELS = [b"0-0", b"0-1", b"1-0"]  # the slot, and a number


def slot(channel: bytes) -> int:
    return int(channel[:1])


class Shares:
    """Who owns each of two slots."""

    def __init__(self, owners: dict[int, RedisNode]) -> None:
        self.owners = owners
        self.nodes = set(owners.values())

    def owner(self, channel: bytes) -> RedisNode | None:
        return self.owners.get(slot(channel))


class Server:
    """One node: it takes commands in order, and what it says comes in order."""

    def __init__(self) -> None:
        self.subscribed: set[bytes] = set()
        self.hears: deque[tuple[str, list[bytes]]] = deque()
        self.says: deque[tuple[str, Any]] = deque()

    def lose(self, lost: int) -> None:
        for channel in sorted(one for one in self.subscribed if slot(one) == lost):
            self.subscribed.discard(channel)
            self.says.append(("unsubscribed", channel))

    def obey(self, owned: set[int]) -> None:
        command, channels = self.hears.popleft()
        if slot(channels[0]) not in owned:
            self.says.append(("moved", slot(channels[0])))
            return
        for channel in channels:
            (self.subscribed.add if command == "subscribed" else self.subscribed.discard)(channel)
            self.says.append((command, channel))


class World:
    """A gateway and the servers; `owners` is the truth, of which the gateway may be told what it was."""

    def __init__(self) -> None:
        self.owners = {number: NODES[number] for number in range(2)}
        self.past = [Shares(dict(self.owners))]
        self.servers = {node: Server() for node in NODES}
        self.seating = Placement()
        self.awaited = {node: PendingSubscriptions() for node in NODES}
        self.wanted: set[bytes] = set()
        self.heard: set[bytes] = set()
        self.lost: set[bytes] = set()  # a message of them was, and they were not heard again since

    def step(self, what: int, which: int, where: int) -> None:
        channel, node = CHANNELS[which % len(CHANNELS)], NODES[where % len(NODES)]
        (
            self.want,
            self.leave,
            self.move,
            lambda channel, node: self.obey(node),
            lambda channel, node: self.listen(node),
            lambda channel, node: self.tell(self.past[which % len(self.past)]),
            self.publish,
            lambda channel, node: self.pass_on(),
            lambda channel, node: self.send(),
        )[what](channel, node)

    def want(self, channel: bytes, _: RedisNode) -> None:
        if channel not in self.wanted:
            self.wanted.add(channel)
            self.seating.add([channel])

    def leave(self, channel: bytes, _: RedisNode) -> None:
        for some in (self.wanted, self.heard, self.lost):
            some.discard(channel)
        self.seating.remove([channel])

    def move(self, channel: bytes, node: RedisNode) -> None:
        before = self.owners[slot(channel)]
        if before != node:
            self.owners[slot(channel)] = node
            self.past.append(Shares(dict(self.owners)))
            self.servers[before].lose(slot(channel))

    def publish(self, channel: bytes, _: RedisNode) -> None:
        if channel in self.heard and channel not in self.servers[self.owners[slot(channel)]].subscribed:
            self.lost.add(channel)

    def tell(self, shares: Shares) -> None:
        self.seating.set_owners(shares)
        self.send()

    def send(self) -> None:
        for node, orders in self.seating.drain().items():
            for channel, there in orders.items():
                if there:
                    self.awaited[node].add(slot(channel), [channel])
                self.servers[node].hears.append(("subscribed" if there else "unsubscribed", [channel]))

    def obey(self, node: RedisNode) -> None:
        if self.servers[node].hears:
            self.servers[node].obey({number for number, owner in self.owners.items() if owner == node})

    def listen(self, node: RedisNode) -> None:
        """As Deltas does."""
        if not self.servers[node].says:
            return
        kind, about = self.servers[node].says.popleft()
        awaited = self.awaited[node]
        if kind == "moved":
            self.seating.reject(node, awaited.reject_slot(about))
        elif kind == "subscribed":
            if awaited.acknowledge(about) and self.seating.is_at(about, node):
                if self.seating.acknowledge([about]):
                    self.lost.discard(about)
                self.heard.add(about)
        elif about not in awaited and self.seating.is_at(about, node):
            self.seating.reject(node, [about])

    def come_to_rest(self) -> None:
        """Nothing moves any more, and who owns what is asked as long as something is amiss."""
        for _ in range(3):
            self.tell(Shares(self.owners))
            self.pass_all_on()

    def pass_all_on(self) -> None:
        self.send()
        while any(server.hears or server.says for server in self.servers.values()):
            self.pass_on()

    def pass_on(self) -> None:
        for node in NODES:
            self.obey(node)
            self.listen(node)


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 3, 3, 4, 4, 5, 6, 7, 7, 7, 8, 8, 8]),
        st.integers(0, 20),
        st.integers(0, 2),
    ),
    min_size=40,
    max_size=120,
)


def lives(steps: list[tuple[int, int, int]]) -> World:
    world = World()
    world.tell(world.past[0])
    for step in steps:
        world.step(*step)
    world.come_to_rest()
    return world


def law(steps: list[tuple[int, int, int]]) -> None:
    """What is wanted is heard at its owner and nowhere else; of what was lost, it is known that it may be."""
    world = lives(steps)
    assert not world.seating.has_unplaced()
    assert world.heard == world.wanted
    for node in NODES:
        owned = {channel for channel in world.wanted if world.owners[slot(channel)] == node}
        assert world.servers[node].subscribed == owned == set(world.seating.channels_at(node))
    assert not world.lost


# Two commands are on their way: the first is refused, the second is not, and then nobody wants the channel.
_REFUSED_AND_TAKEN = [(0, 0, 0), (0, 1, 0), (8, 0, 0), (7, 0, 0), (2, 0, 1), (7, 0, 0), (2, 0, 0), (5, 0, 0)]


@given(STEPS)
@example([*_REFUSED_AND_TAKEN, (7, 0, 0), (1, 0, 0)])
@example(
    [
        *[(0, 0, 0), (0, 1, 0), (8, 0, 0), (7, 0, 0), (2, 0, 1), (3, 0, 0), (2, 0, 0), (7, 0, 0)],
        *[(5, 0, 0), (7, 0, 0), (5, 1, 0), (1, 0, 0)],
    ]
)
@settings(max_examples=400)
def test_every_channel_is_heard_at_its_owner(steps: list[tuple[int, int, int]]) -> None:
    law(steps)


def law_of_one(steps: list[tuple[int, int, int]]) -> None:
    """A single server has all, and nobody would ask again if something seemed to be elsewhere."""
    world = World()
    world.owners = dict.fromkeys(world.owners, NODES[0])
    world.tell(Shares(world.owners))
    for what, which, _ in steps:
        if what not in (2, 5):  # moves, and news of them
            world.step(what, which, 0)
    world.pass_all_on()
    assert not world.seating.has_unplaced()
    assert world.heard == world.wanted == world.servers[NODES[0]].subscribed


@given(STEPS)
@settings(max_examples=400)
def test_a_single_server_is_never_doubted(steps: list[tuple[int, int, int]]) -> None:
    law_of_one(steps)


Law = Callable[[list[tuple[int, int, int]]], None]


@contextmanager
def mutant(where: Any, name: str, other: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, name, other)
        yield


@pytest.mark.mutant
@pytest.mark.parametrize(
    ("law", "where", "name", "other"),
    [
        (law, Placement, "reject", lambda self, node, channels: None),
        (law, Placement, "acknowledge", lambda self, channels: False),
        (law, Placement, "is_at", lambda self, channel, node: True),
        (law, PendingSubscriptions, "reject_slot", lambda self, slot: []),
        (law_of_one, PendingSubscriptions, "__contains__", lambda self, channel: False),
        (law_of_one, PendingSubscriptions, "acknowledge", lambda self, channel: False),
    ],
    ids=lambda one: str(one) if isinstance(one, str) else "",
)
def test_the_law_sees_its_mutant(law: Law, where: Any, name: str, other: Any) -> None:
    found = settings(max_examples=2000, phases=[Phase.generate], database=None, derandomize=True)(
        given(STEPS)(law)
    )
    with mutant(where, name, other), pytest.raises(AssertionError):
        found()


def test_a_single_server_hears_all() -> None:
    seating = Placement()
    seating.add([b"a", b"b"])
    assert seating.has_unplaced()
    assert not seating.drain()
    seating.set_owners(SingleNode(NODES[0]))
    assert not seating.has_unplaced()
    assert seating.drain() == {NODES[0]: {b"a": True, b"b": True}}
    seating.remove([b"a"])
    seating.add([b"a", b"c"])  # before anything was sent: the last word counts
    assert seating.drain() == {NODES[0]: {b"a": True, b"c": True}}
    assert seating.channels_at(NODES[0]) == [b"b", b"a", b"c"]
    assert seating.any_channel_at(NODES[1]) is None


def test_channels_without_an_owner_wait_for_one() -> None:
    seating = Placement()
    seating.set_owners(Shares({0: NODES[0]}))
    seating.add([b"0-0", b"1-0"])
    assert seating.drain() == {NODES[0]: {b"0-0": True}}
    assert seating.has_unplaced()
    seating.set_owners(Shares({0: NODES[0], 1: NODES[1]}))
    assert not seating.has_unplaced()
    assert seating.drain() == {NODES[1]: {b"1-0": True}}


def test_the_last_of_several_acknowledgements_counts() -> None:
    awaited = PendingSubscriptions()
    awaited.add(0, [b"0-0"])
    awaited.add(0, [b"0-0", b"0-1"])
    assert not awaited.acknowledge(b"0-0")
    assert awaited.acknowledge(b"0-0")
    assert awaited.reject_slot(0) == [b"0-1"]
    assert b"0-1" not in awaited
