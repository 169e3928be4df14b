"""Properties of the gateway: for any interleaving, loss, repetition and restart, clients are sent the truth.

- The frames of each client chain from the position that it named.
- What they show was the state of the projection at their position.
- A heartbeat's `as_of` claims no more than was sent.
- No frame of an account is written after its rights were revoked.
- Waiting data stays within its bound.
- Once the faults end, every client shows the current state.
"""

from itertools import product

from hypothesis.stateful import RuleBasedStateMachine

from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.simulation.gateway.client import Client
from tests.simulation.gateway.world import CLIENT_QUEUE_BYTES, World
from tests.simulation.projection import Projection
from tests.simulation.steps import always, begin, step

ACCOUNTS = [AccountId("a"), AccountId("b")]
CLIENTS = 3
UNKNOWN_EPOCH = Epoch("f" * 16)

BOOLEANS = (False, True)
INDEXES = range(4)
NUMBERS = range(CLIENTS)  # of clients
# Of batches. True: a transfer; False: a balance.
BATCHES = [list(batch) for size in range(1, 5) for batch in product(BOOLEANS, repeat=size)]


class Lossless(RuleBasedStateMachine):
    """Redis loses nothing: the properties hold without any audit."""

    audits = False

    @begin(changes=range(7), all_subscribed=BOOLEANS)
    def begin(self, changes: int, all_subscribed: bool) -> None:
        self.projection = Projection(ACCOUNTS)
        self.world = self.make_world(self.projection)
        for account in ACCOUNTS:
            if changes:
                self.world.change(account, [number % 2 > 0 for number in range(changes)], False)
        self.world.unpublished.clear()
        for _ in range(CLIENTS):
            self.world.connect()
        self.world.subscribe(self.world.clients[0], ACCOUNTS[0], None)
        if all_subscribed:
            for client in self.world.clients:
                self.world.subscribe(client, ACCOUNTS[1], None)
            self.subscribe_more()
            self.world.settle(audits=False)

    def make_world(self, projection: Projection) -> World:
        return World(projection)

    def subscribe_more(self) -> None:
        """Called before a schedule in which all clients are subscribed from the start."""

    def client(self, number: int) -> Client:
        return self.world.clients[number]

    # --- the pipeline

    @property
    def can_commit(self) -> bool:
        return self.world.halted_at is None and not self.projection.has_lost

    @step(account=ACCOUNTS, transfers=BATCHES, header_only=[False, False, False, True])
    def change(self, account: AccountId, transfers: list[bool], header_only: bool) -> None:
        if not self.can_commit:
            return
        self.world.change(account, transfers, header_only)

    @step()
    def publish(self) -> None:
        self.world.publish()

    @step(account=ACCOUNTS, transfers=BATCHES)
    def change_and_publish(self, account: AccountId, transfers: list[bool]) -> None:
        if self.can_commit:
            self.world.change(account, transfers, False)
        while self.world.unpublished:
            self.world.publish()
        self.world.deliver(len(self.world.incoming))

    @step(number=NUMBERS, account=ACCOUNTS, times=range(1, 7))
    def change_often_while_a_client_is_blocked(self, number: int, account: AccountId, times: int) -> None:
        self.world.set_writable(self.client(number), False)
        for _ in range(times):
            self.change_and_publish(account, [True])

    @step()
    def execute_command(self) -> None:
        self.world.execute_command()

    @step(count=range(1, 4))
    def deliver(self, count: int) -> None:
        self.world.deliver(count)

    @step(index=INDEXES)
    def run_read(self, index: int) -> None:
        self.world.run_read(index)

    @step(index=INDEXES)
    def answer(self, index: int) -> None:
        self.world.answer(index)

    @step()
    def continue_audit(self) -> None:
        if self.world.audit is None:
            self.world.begin_audit()
        elif self.world.audit[1] is None:
            self.world.run_audit()
        else:
            self.world.end_audit()

    @step(seconds=[0.25, 1.0, 10.0])
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    # --- the clients

    @step(number=NUMBERS, account=ACCOUNTS)
    def subscribe(self, number: int, account: AccountId) -> None:
        self.world.subscribe(self.client(number), account, None)

    @step(number=NUMBERS, account=ACCOUNTS)
    def resume(self, number: int, account: AccountId) -> None:
        screen = self.client(number).screens.get(account)
        self.world.subscribe(self.client(number), account, screen.position if screen else None)

    @step(number=NUMBERS, account=ACCOUNTS)
    def unsubscribe(self, number: int, account: AccountId) -> None:
        self.world.unsubscribe(self.client(number), account)

    @step(number=NUMBERS, writable=BOOLEANS)
    def set_writable(self, number: int, writable: bool) -> None:
        self.world.set_writable(self.client(number), writable)

    @step(number=NUMBERS, per_second=[0.2, 1.0, 8.0, None])
    def set_rate(self, number: int, per_second: float | None) -> None:
        self.world.set_rate(self.client(number), per_second)

    @step(number=NUMBERS, count=range(1, 6))
    def read(self, number: int, count: int) -> None:
        for _ in range(count):
            self.client(number).read()

    @step(number=NUMBERS)
    def reconnect(self, number: int) -> None:
        """Loses what is under way to the client, which then resumes from the positions that it shows."""
        self.world.reconnect(self.client(number))

    @step(number=NUMBERS, account=ACCOUNTS, ahead=range(1, 4))
    def resume_ahead_of_postgres(self, number: int, account: AccountId, ahead: int) -> None:
        revision = Revision(self.projection.current(account).revision + ahead + 100)
        self.world.subscribe(self.client(number), account, Position(self.projection.epoch, revision))

    # --- the properties

    @always
    def waiting_data_is_within_its_bound(self) -> None:
        for client in self.world.clients:
            outbox = client.session.outbox
            is_written = outbox.writable and not client.interval
            # What a client may not be sent yet is written at once when it may.
            assert is_written or self.world.is_withholding or outbox.size <= CLIENT_QUEUE_BYTES

    @always
    def shown_state_is_a_state_of_the_projection(self) -> None:
        for client in self.world.clients:
            for account, screen in client.screens.items():
                position = screen.position
                if account in self.projection.forged:
                    continue
                if position and screen.request is None and self.existed(account, position):
                    history = self.projection.at(position, account)
                    transfers = history.transfers(upto=position.revision)
                    assert screen.transfers == transfers[len(transfers) - len(screen.transfers) :]
                    assert all(transfer in transfers for transfer in screen.kept)
                    assert screen.balance is None or screen.balance in history.balances(position.revision)

    def existed(self, account: AccountId, position: Position) -> bool:
        return position.revision <= self.projection.at(position, account).revision

    @always
    def heartbeats_claim_no_more_than_was_sent(self) -> None:
        for client in self.world.clients:
            for as_of, shown in client.heartbeats:
                for account, position in shown.items():
                    commits = [commit for wall, commit in self.world.commits[account] if wall <= as_of]
                    assert not commits or (position is not None and has_reached(position, commits[-1]))
            client.heartbeats.clear()

    def teardown(self) -> None:
        self.world.settle(audits=self.audits)
        self.projection.forged.clear()
        for client in self.world.clients:
            assert client.session.outbox.is_empty
            for account, screen in client.screens.items():
                history = self.projection.current(account)
                assert screen.request is None
                assert screen.position == Position(self.projection.epoch, history.revision)
                assert screen.balance == history.balance()
        self.heartbeats_claim_no_more_than_was_sent()
        self.shown_state_is_a_state_of_the_projection()


class Faulty(Lossless):
    """Messages are lost, repeated and reordered, Redis restarts, reads fail, the projection is rebuilt."""

    audits = True

    @step(index=INDEXES)
    def lose_message(self, index: int) -> None:
        if index < len(self.world.incoming) and self.world.incoming[index][1]:
            del self.world.incoming[index]

    @step(index=INDEXES)
    def lose_before_publishing(self, index: int) -> None:
        if index < len(self.world.unpublished):
            del self.world.unpublished[index]

    @step(index=INDEXES, later=INDEXES)
    def repeat_message(self, index: int, later: int) -> None:
        incoming = self.world.incoming
        if index < len(incoming) and incoming[index][1]:
            incoming.insert(index + later, incoming[index])

    @step(index=INDEXES)
    def publish_out_of_order(self, index: int) -> None:
        self.world.publish(index)

    @step()
    def restart_redis(self) -> None:
        self.world.restart_redis()

    @step(index=INDEXES)
    def fail_read(self, index: int) -> None:
        self.world.fail_read(index)

    @step()
    def rebuild(self) -> None:
        if len(self.projection.epochs) < 4:
            self.world.rebuild()

    @step(number=NUMBERS, account=ACCOUNTS)
    def resume_from_an_unknown_epoch(self, number: int, account: AccountId) -> None:
        self.world.subscribe(self.client(number), account, Position(UNKNOWN_EPOCH, Revision(5)))

    def existed(self, account: AccountId, position: Position) -> bool:
        return position.epoch != UNKNOWN_EPOCH and super().existed(account, position)


class Forging(Faulty):
    """A program other than the projector publishes. An audit repairs what clients show of these accounts."""

    @step(account=ACCOUNTS, gone=[False, False, True])
    def forge(self, account: AccountId, gone: bool) -> None:
        self.world.forge(account, gone)


class LosingCommits(Faulty):
    """Accounts are erased, a lane halts, and Postgres loses commits before the epoch changes."""

    @step(account=ACCOUNTS)
    def erase(self, account: AccountId) -> None:
        if self.projection.current(account).revision and self.can_commit:
            self.world.erase(account)

    @step(halted=BOOLEANS)
    def halt(self, halted: bool) -> None:
        self.world.halt(halted=halted)

    @step(account=ACCOUNTS, count=range(1, 5))
    def lose_commits(self, account: AccountId, count: int) -> None:
        if not self.projection.has_lost:
            self.world.lose(account, count)


class Revoking(Faulty):
    """Rights are revoked, and tokens expire, besides. The world checks each frame that it writes."""

    @step(number=NUMBERS, seconds=[0.5, 3.0, 70.0])
    def reconnect_with_a_token_that_expires(self, number: int, seconds: float) -> None:
        self.world.reconnect(self.client(number), seconds)

    @step(number=NUMBERS, account=ACCOUNTS)
    def revoke(self, number: int, account: AccountId) -> None:
        self.world.revoke(self.client(number), account)

    @step(number=NUMBERS, account=ACCOUNTS)
    def revoke_while_the_gateway_is_paused(self, number: int, account: AccountId) -> None:
        self.world.revoke_while_paused(self.client(number), account)

    @step()
    def read_revocations(self) -> None:
        self.world.read_revocations()


def has_reached(position: Position, commit: Position) -> bool:
    """Compares epochs as numbers, which they are in the simulation only."""
    return (int(position.epoch, 16), position.revision) >= (int(commit.epoch, 16), commit.revision)
