"""Properties of the client: for any interleaving, loss, repetition, cut and new epoch, it shows the truth.

- What an account shows was the state of the projection at its position, at every moment.
- The frames that the client reports chain without a gap or a repeat.
- Once the faults end, it shows the current state within `HEALED` seconds.
"""

from hypothesis.stateful import RuleBasedStateMachine

from livebalance.wire.identity import AccountId, Position, channel_name
from tests.checker import replay
from tests.simulation.client.world import World
from tests.simulation.projection import Projection
from tests.simulation.steps import always, begin, step

ACCOUNTS = [AccountId("a"), AccountId("b")]
HEALED = 70.0  # a half-open connection is closed after 25 s, and the longest back-off is 20 s

BOOLEANS = (False, True)
AMOUNTS = sorted(range(-3, 4), key=abs)
INDEXES = range(6)


class ClientMachine(RuleBasedStateMachine):
    """A run of the world. It also loses, repeats and reorders frames, which TCP never does."""

    @begin(ok_first=BOOLEANS, changes=range(9), patches=BOOLEANS)
    def begin(self, ok_first: bool, changes: int, patches: bool) -> None:
        self.projection = Projection(ACCOUNTS)
        for account in ACCOUNTS:
            for number in range(changes):
                self.projection.change(account, number % 3 > 0, number)
        self.world = World(self.projection, patches=patches)
        self.world.ok_first = ok_first
        self.world.session.follow(ACCOUNTS[0])
        self.world.deliver(1)
        self.checked = 0

    @step(account=ACCOUNTS, is_transfer=BOOLEANS, amount=AMOUNTS, publish=BOOLEANS)
    def change(self, account: AccountId, is_transfer: bool, amount: int, publish: bool) -> None:
        self.projection.change(account, is_transfer, amount)
        if publish:
            self.world.publish(account)

    @step(account=ACCOUNTS, times=range(1, 21))
    def change_often(self, account: AccountId, times: int) -> None:
        for number in range(times):
            self.projection.change(account, number % 3 > 0, 1)

    @step(account=ACCOUNTS)
    def publish(self, account: AccountId) -> None:
        self.world.publish(account)

    @step(count=range(1, 21))
    def deliver(self, count: int) -> None:
        self.world.deliver(count)

    @step(account=ACCOUNTS)
    def follow(self, account: AccountId) -> None:
        self.world.session.follow(account)

    @step(seconds=[0.01, 0.6, 6.0, 30.0], jitter=[0.01, 0.3, 0.99])
    def sleep(self, seconds: float, jitter: float) -> None:
        self.world.jitter = jitter
        self.world.sleep(seconds)

    @step(index=INDEXES)
    def lose_frame(self, index: int) -> None:
        wire = self.world.connection.wire if self.world.connection else None
        if wire and index < len(wire):
            del wire[index]

    @step(index=INDEXES, later=INDEXES)
    def repeat_frame(self, index: int, later: int) -> None:
        wire = self.world.connection.wire if self.world.connection else None
        if wire and index < len(wire):
            wire.insert(index + later, wire[index])

    @step(index=INDEXES)
    def swap_frames(self, index: int) -> None:
        wire = self.world.connection.wire if self.world.connection else None
        if wire and index + 1 < len(wire):
            wire[index], wire[index + 1] = wire[index + 1], wire[index]

    @step(code=[1001, 1006, 1011, 1012, 4000, 4001, 4013])
    def close(self, code: int) -> None:
        self.world.close(code, '{"code":"later","retry_after_ms":700}' if code >= 4000 else "")

    @step()
    def half_open(self) -> None:
        if self.world.connection:
            self.world.connection.is_half_open = True

    @step(rejects=BOOLEANS, unavailable=BOOLEANS)
    def fail(self, rejects: bool, unavailable: bool) -> None:
        self.world.rejects_connections, self.world.unavailable = rejects, unavailable

    @step(same_revisions=BOOLEANS, delivered=BOOLEANS)
    def rebuild(self, same_revisions: bool, delivered: bool) -> None:
        self.world.rebuild(same_revisions)
        if not delivered and self.world.connection:
            self.world.connection.wire.clear()

    @always
    def shown_state_is_a_state_of_the_projection(self) -> None:
        for account in ACCOUNTS:
            shown = self.world.shown(account)
            if shown:
                history = self.projection.at(shown.position, account)
                transfers = history.transfers(upto=shown.position.revision)
                assert list(shown.transfers) == transfers[len(transfers) - len(shown.transfers) :]
                assert shown.balance is None or shown.balance in history.changes[: shown.position.revision]

    @always
    def reported_frames_chain(self) -> None:
        frames = self.world.reported_frames
        if len(frames) > self.checked:
            self.checked = len(frames)
            replay(frames)

    def teardown(self) -> None:
        self.world.heal(HEALED)
        for account in ACCOUNTS:  # the next change reveals what was lost on the wire
            self.projection.change(account, True, 1)
            self.world.publish(account)
        self.world.heal(HEALED)
        assert not self.world.has_stopped
        logs = replay(self.world.reported_frames)
        for account in ACCOUNTS:
            shown, history = self.world.shown(account), self.projection.current(account)
            if shown is None:
                assert account != ACCOUNTS[0]
                assert channel_name(account) not in logs
                continue
            assert shown.position == Position(self.projection.epoch, history.revision)
            assert shown.balance == history.balance()
            log = logs[channel_name(account)]
            if not log.gaps:
                transfers = history.transfers()
                assert log.transfers == transfers[len(transfers) - len(log.transfers) :]
                assert list(shown.transfers) == log.transfers
