from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from livebalance.gateway.limits.fair_queue import FairQueue

USERS = ["alice", "bob", "carol", "dave"]
SLOTS, SLOTS_PER_USER, MAX_WAITING = 3, 2, 6


def served(queue: FairQueue[str]) -> list[str]:
    """Returns the waiting requests in the order in which a single slot serves them."""
    order = []
    while next_ := queue.start():
        assert next_[1] not in order
        order.append(next_[1])
        queue.finish(next_[0])
    return order


def test_users_are_served_in_turn_and_each_in_order() -> None:
    queue = FairQueue[str](1, 1, 99)
    for request in ("a1", "a2", "a3", "b1", "b2", "c1"):
        assert queue.add(request[0], request) is None
    assert served(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert queue.waiting == 0


def test_user_never_has_the_last_slot() -> None:
    queue = FairQueue[str](3, 2, 99)
    for request in ("a1", "a2", "a3"):
        queue.add("a", request)
    assert [queue.start() for _ in range(3)] == [("a", "a1"), ("a", "a2"), None]
    queue.add("b", "b1")
    assert queue.start() == ("b", "b1")
    queue.finish("b")
    assert queue.start() is None
    queue.finish("a")
    assert queue.start() == ("a", "a3")


def test_full_queue_drops_the_newest_request_of_the_greediest_user() -> None:
    queue = FairQueue[str](1, 1, 4)
    for request in ("a1", "a2", "a3", "b1"):
        queue.add(request[0], request)
    assert queue.add("c", "c1") == "a3"
    assert queue.add("a", "a4") == "a4"
    assert queue.add("c", "c2") == "c2"
    assert served(queue) == ["a1", "b1", "c1", "a2"]


def test_full_queue_with_a_request_of_each_user_drops_the_newest() -> None:
    queue = FairQueue[str](1, 1, 2)
    assert [queue.add(user, user) for user in ("a", "b", "c")] == [None, None, "c"]
    assert served(queue) == ["a", "b"]


def test_request_that_gave_up_is_not_served() -> None:
    queue = FairQueue[str](1, 1, 99)
    for request in ("a1", "a2", "b1"):
        queue.add(request[0], request)
    queue.discard("a", "a1")
    queue.discard("b", "b1")
    queue.discard("b", "b1")
    queue.discard("a", "b1")
    assert queue.waiting == 1
    assert served(queue) == ["a2"]
    queue.discard("a", "a2")
    assert queue.waiting == 0


@given(st.lists(st.sampled_from(USERS[1:]), max_size=30), st.lists(st.sampled_from(USERS[1:]), max_size=30))
def test_request_waits_for_at_most_one_of_each_other_user(before: list[str], after: list[str]) -> None:
    """The others have queued before, and queue more whenever a request is served."""
    queue = FairQueue[str](1, 1, 999)
    for user in before:
        queue.add(user, user)
    queue.add("alice", "alice")
    started = Counter[str]()
    while next_ := queue.start():
        if next_[0] == "alice":
            break
        started[next_[0]] += 1
        for user in after:
            queue.add(user, user)
        queue.finish(next_[0])
    assert next_ == ("alice", "alice")
    assert max(started.values(), default=0) <= 1


@dataclass(eq=False)
class Request:
    user: str
    ahead: int  # requests of the same user that wait before it
    overtaken: Counter[str] = field(default_factory=Counter)  # requests of others that started meanwhile


class Queue(RuleBasedStateMachine):
    """Any order of additions, starts, ends and give-ups keeps the bounds and the turns."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue[Request](SLOTS, SLOTS_PER_USER, MAX_WAITING)
        self.waiting, self.running = list[Request](), list[Request]()

    def of(self, user: str) -> list[Request]:
        return [request for request in self.waiting if request.user == user]

    @rule(user=st.sampled_from(USERS))
    def add(self, user: str) -> None:
        request = Request(user, len(self.of(user)))
        self.waiting.append(request)
        dropped = self.queue.add(user, request)
        assert (dropped is not None) == (len(self.waiting) > MAX_WAITING)
        if dropped:
            sizes = Counter(waiting.user for waiting in self.waiting)
            assert sizes[dropped.user] == max(sizes.values())
            assert dropped is self.of(dropped.user)[-1]
            self.waiting.remove(dropped)

    @rule()
    def start(self) -> None:
        started = self.queue.start()
        running = Counter(request.user for request in self.running)
        startable = [request for request in self.waiting if running[request.user] < SLOTS_PER_USER]
        assert (started is not None) == (len(self.running) < SLOTS and bool(startable))
        if started:
            user, request = started
            assert request is self.of(user)[0]
            self.waiting.remove(request)
            self.running.append(request)
            for other in self.waiting:
                if running[other.user] < SLOTS_PER_USER:  # or it waits for its own user
                    other.overtaken[user] += 1
            assert all(
                count <= request.ahead + 1
                for overtaker, count in request.overtaken.items()
                if overtaker != user
            )

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.running))
        self.running.remove(request)
        self.queue.finish(request.user)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(request)
        self.queue.discard(request.user, request)

    @invariant()
    def bounds_hold_and_idle_users_are_forgotten(self) -> None:
        assert self.queue.waiting == len(self.waiting) <= MAX_WAITING
        assert len(self.running) <= SLOTS
        assert max(Counter(request.user for request in self.running).values(), default=0) <= SLOTS_PER_USER
        assert set(self.queue._waiting) == {request.user for request in self.waiting}
        assert set(self.queue._running) == {request.user for request in self.running}


TestQueue = Queue.TestCase
TestQueue.settings = settings(deadline=None)
