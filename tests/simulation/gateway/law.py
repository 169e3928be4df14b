"""The law of the gateway: for any interleaving, loss, repetition and restart, what a client is sent is true.

Every client's frames chain from the position it named; what they make stood in the truth at their position;
"as of" claims no more than was sent; of an account whose right was taken back nothing is written; what waits
is within its bound. Once the faults end, all have the truth.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.simulation.gateway.client import Client
from tests.simulation.gateway.world import OUTBOX_BYTES, World
from tests.simulation.truth import Truth

ACCOUNTS = [AccountId("a"), AccountId("b")]
CLIENTS = 3

accounts = st.sampled_from(ACCOUNTS)
places = st.integers(0, 3)
who = st.integers(0, CLIENTS - 1)
batches = st.lists(st.booleans(), min_size=1, max_size=4)


class Faithful(RuleBasedStateMachine):
    """A Redis that loses nothing: then no audit is needed for the law."""

    audits = False

    @initialize(before=st.integers(0, 6), at_rest=st.booleans())
    def begin(self, before: int, at_rest: bool) -> None:
        self.truth = Truth(ACCOUNTS)
        self.world = World(self.truth)
        for account in ACCOUNTS:
            if before:
                self.world.change(account, [n % 2 > 0 for n in range(before)], False)
        self.world.unpublished.clear()
        for _ in range(CLIENTS):
            self.world.connect()
        self.world.follow(self.world.clients[0], ACCOUNTS[0], None)
        if at_rest:
            for client in self.world.clients:
                self.world.follow(client, ACCOUNTS[1], None)
            self.world.settle(audits=False)

    def client(self, number: int) -> Client:
        return self.world.clients[number]

    # --- what happens in any world

    @rule(account=accounts, kinds=batches, header_only=st.sampled_from([False, False, False, True]))
    def change(self, account: AccountId, kinds: list[bool], header_only: bool) -> None:
        self.world.change(account, kinds, header_only)

    @rule()
    def publish(self) -> None:
        self.world.publish()

    @rule(account=accounts, kinds=batches)
    def change_and_publish(self, account: AccountId, kinds: list[bool]) -> None:
        self.world.change(account, kinds, False)
        while self.world.unpublished:
            self.world.publish()
        self.world.deliver(len(self.world.incoming))

    @rule(number=who, account=accounts, times=st.integers(1, 6))
    def burst(self, number: int, account: AccountId, times: int) -> None:
        """For one whose transport takes nothing meanwhile."""
        self.world.take_bytes(self.client(number), False)
        for _ in range(times):
            self.change_and_publish(account, [True])

    @rule()
    def serve_command(self) -> None:
        self.world.serve_command()

    @rule(count=st.integers(1, 3))
    def deliver(self, count: int) -> None:
        self.world.deliver(count)

    @rule(place=places)
    def run_read(self, place: int) -> None:
        self.world.run_read(place)

    @rule(place=places)
    def answer(self, place: int) -> None:
        self.world.answer(place)

    @rule()
    def audit_in_steps(self) -> None:
        if self.world.audit is None:
            self.world.begin_audit()
        elif self.world.audit[1] is None:
            self.world.run_audit()
        else:
            self.world.end_audit()

    @rule(seconds=st.sampled_from([0.25, 1.0, 10.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule(number=who, account=accounts)
    def follow(self, number: int, account: AccountId) -> None:
        self.world.follow(self.client(number), account, None)

    @rule(number=who, account=accounts)
    def follow_again(self, number: int, account: AccountId) -> None:
        screen = self.client(number).screens.get(account)
        self.world.follow(self.client(number), account, screen.position if screen else None)

    @rule(number=who, account=accounts)
    def leave(self, number: int, account: AccountId) -> None:
        self.world.leave(self.client(number), account)

    @rule(number=who, writable=st.booleans())
    def take_bytes(self, number: int, writable: bool) -> None:
        self.world.take_bytes(self.client(number), writable)

    @rule(number=who, per_second=st.sampled_from([0.2, 1.0, 8.0, None]))
    def rate(self, number: int, per_second: float | None) -> None:
        self.world.rate(self.client(number), per_second)

    @rule(number=who, count=st.integers(1, 5))
    def read(self, number: int, count: int) -> None:
        for _ in range(count):
            self.client(number).read()

    @rule(number=who)
    def come_back(self, number: int) -> None:
        """What was under way to it is lost; it names the positions it has."""
        old = self.client(number)
        self.world.disconnect(old)
        new = self.world.connect()
        for account, screen in old.screens.items():
            new.screens[account] = screen
            self.world.follow(new, account, screen.position)

    @rule(number=who, account=accounts, ahead=st.integers(1, 3))
    def follow_from_the_future(self, number: int, account: AccountId, ahead: int) -> None:
        now = self.truth.now(account).revision
        self.world.follow(
            self.client(number), account, Position(self.truth.epoch, Revision(now + ahead + 100))
        )

    # --- the law

    @invariant()
    def nothing_is_over_its_bound(self) -> None:
        for client in self.world.clients:
            outbox = client.session.outbox
            assert (outbox.writable and not client.period) or outbox.size <= OUTBOX_BYTES

    @invariant()
    def what_is_shown_was_true(self) -> None:
        for client in self.world.clients:
            for account, screen in client.screens.items():
                at = screen.position
                if at and screen.asked is None and self.stood(account, at):
                    history = self.truth.at(at)[account]
                    held = history.transfers(upto=at.revision)
                    assert screen.transfers == held[len(held) - len(screen.transfers) :]
                    assert screen.balance is None or screen.balance in history.changes[: at.revision]

    def stood(self, account: AccountId, at: Position) -> bool:
        return at.revision <= self.truth.at(at)[account].revision

    @invariant()
    def no_more_is_claimed_than_was_sent(self) -> None:
        for client in self.world.clients:
            for as_of, shown in client.claims:
                for account, at in shown.items():
                    then = [position for wall, position in self.world.changes[account] if wall <= as_of]
                    assert not then or (at is not None and reaches(at, then[-1]))
            client.claims.clear()

    def teardown(self) -> None:
        self.world.settle(audits=self.audits)
        for client in self.world.clients:
            assert client.session.outbox.empty
            for account, screen in client.screens.items():
                history = self.truth.now(account)
                assert screen.asked is None
                assert screen.position == Position(self.truth.epoch, history.revision)
                assert screen.balance == history.balance()
        self.no_more_is_claimed_than_was_sent()
        self.what_is_shown_was_true()


class Faulty(Faithful):
    """Everything is lost, repeated, reordered and restarted; the audits bring the truth back."""

    audits = True

    @rule(place=places)
    def lose(self, place: int) -> None:
        if place < len(self.world.incoming) and self.world.incoming[place][1]:
            del self.world.incoming[place]

    @rule(place=places)
    def lose_before_publishing(self, place: int) -> None:
        if place < len(self.world.unpublished):
            del self.world.unpublished[place]

    @rule(place=places, later=places)
    def repeat(self, place: int, later: int) -> None:
        incoming = self.world.incoming
        if place < len(incoming) and incoming[place][1]:
            incoming.insert(place + later, incoming[place])

    @rule(place=places)
    def publish_out_of_turn(self, place: int) -> None:
        self.world.publish(place)

    @rule()
    def restart_redis(self) -> None:
        self.world.restart_redis()

    @rule(place=places)
    def fail_read(self, place: int) -> None:
        self.world.fail_read(place)

    @precondition(lambda self: len(self.truth.epochs) < 4)
    @rule()
    def rebuild(self) -> None:
        self.world.rebuild()

    @rule(number=who, account=accounts)
    def follow_from_nowhere(self, number: int, account: AccountId) -> None:
        """A position of an epoch that never was."""
        self.world.follow(self.client(number), account, Position(Epoch("f" * 16), Revision(5)))

    def stood(self, account: AccountId, at: Position) -> bool:
        return at.epoch != "f" * 16 and super().stood(account, at)


class Distrustful(Faulty):
    """And rights are taken back."""

    @rule(number=who, account=accounts)
    def revoke(self, number: int, account: AccountId) -> None:
        """From now on no byte of it is written to that client, until it comes back as another."""
        self.world.revoke(self.client(number), account)


def reaches(mine: Position, then: Position) -> bool:
    """Epochs are numbers in this world, and only in this world compare."""
    return (int(mine.epoch, 16), mine.revision) >= (int(then.epoch, 16), then.revision)
