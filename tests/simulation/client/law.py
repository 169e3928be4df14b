"""The law of the client: for any interleaving, loss, repetition, cut and new epoch, what is shown is true.

At every moment what an account shows stood in the truth at its position, and the frames told chain without a
gap or a repeat. When the faults end it shows the truth, within `HEALED` seconds.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from livebalance.wire.identity import AccountId, Position, channel_name
from tests.checker import replay
from tests.simulation.client.world import World
from tests.simulation.truth import Truth

ACCOUNTS = [AccountId("a"), AccountId("b")]
HEALED = 70.0  # a half-open socket is dead after 25 s, and the longest back-off is 20 s
# Over this alphabet of amounts money moves both ways and stands still.
amounts = st.integers(-3, 3)
accounts = st.sampled_from(ACCOUNTS)
places = st.integers(0, 5)


class Law(RuleBasedStateMachine):
    """A run of the world. Losing, repeating and reordering a frame are more than TCP would ever do."""

    @initialize(ok_first=st.booleans(), before=st.integers(0, 8))
    def begin(self, ok_first: bool, before: int) -> None:
        self.truth = Truth(ACCOUNTS)
        for account in ACCOUNTS:
            for n in range(before):
                self.truth.change(account, n % 3 > 0, n)
        self.world = World(self.truth)
        self.world.ok_first = ok_first
        self.world.session.follow(ACCOUNTS[0])
        self.world.deliver(1)
        self.checked = 0

    @rule(account=accounts, transfer=st.booleans(), amount=amounts, publish=st.booleans())
    def change(self, account: AccountId, transfer: bool, amount: int, publish: bool) -> None:
        self.truth.change(account, transfer, amount)
        if publish:
            self.world.publish(account)

    @rule(account=accounts, times=st.integers(1, 20))
    def burst(self, account: AccountId, times: int) -> None:
        for n in range(times):
            self.truth.change(account, n % 3 > 0, 1)

    @rule(account=accounts)
    def publish(self, account: AccountId) -> None:
        self.world.publish(account)

    @rule(count=st.integers(1, 20))
    def deliver(self, count: int) -> None:
        self.world.deliver(count)

    @rule(account=accounts)
    def follow(self, account: AccountId) -> None:
        self.world.session.follow(account)

    @rule(seconds=st.sampled_from([0.01, 0.6, 6.0, 30.0]), chance=st.sampled_from([0.01, 0.3, 0.99]))
    def sleep(self, seconds: float, chance: float) -> None:
        self.world.chance = chance
        self.world.sleep(seconds)

    @rule(place=places)
    def lose(self, place: int) -> None:
        wire = self.world.socket.wire if self.world.socket else None
        if wire and place < len(wire):
            del wire[place]

    @rule(place=places, later=places)
    def repeat(self, place: int, later: int) -> None:
        wire = self.world.socket.wire if self.world.socket else None
        if wire and place < len(wire):
            wire.insert(place + later, wire[place])

    @rule(place=places)
    def swap(self, place: int) -> None:
        wire = self.world.socket.wire if self.world.socket else None
        if wire and place + 1 < len(wire):
            wire[place], wire[place + 1] = wire[place + 1], wire[place]

    @rule(code=st.sampled_from([1001, 1006, 1011, 1012, 4000, 4001, 4013]))
    def cut(self, code: int) -> None:
        self.world.cut(code, '{"code":"later","retry_after_ms":700}' if code >= 4000 else "")

    @rule()
    def go_half_open(self) -> None:
        if self.world.socket:
            self.world.socket.half_open = True

    @rule(refusing=st.booleans(), unavailable=st.booleans())
    def fail(self, refusing: bool, unavailable: bool) -> None:
        self.world.refusing, self.world.unavailable = refusing, unavailable

    @rule(alike=st.booleans(), told=st.booleans())
    def rebuild(self, alike: bool, told: bool) -> None:
        self.world.rebuild(alike)
        if not told and self.world.socket:
            self.world.socket.wire.clear()

    @invariant()
    def what_is_shown_was_true(self) -> None:
        for account in ACCOUNTS:
            shown = self.world.shown(account)
            if shown:
                history = self.truth.at(shown.position)[account]
                held = history.transfers(upto=shown.position.revision)
                assert list(shown.transfers) == held[len(held) - len(shown.transfers) :]
                assert shown.balance is None or shown.balance in history.changes[: shown.position.revision]

    @invariant()
    def what_is_told_chains(self) -> None:
        log = self.world.log
        if len(log) > self.checked:
            self.checked = len(log)
            replay(log)

    def teardown(self) -> None:
        self.world.heal(HEALED)
        for account in ACCOUNTS:  # what was lost on the wire shows with the next change
            self.truth.change(account, True, 1)
            self.world.publish(account)
        self.world.heal(HEALED)
        assert not self.world.stopped
        ledgers = replay(self.world.log)
        for account in ACCOUNTS:
            shown, history = self.world.shown(account), self.truth.now(account)
            if shown is None:
                assert account != ACCOUNTS[0]
                assert channel_name(account) not in ledgers
                continue
            assert shown.position == Position(self.truth.epoch, history.revision)
            assert shown.balance == history.balance()
            ledger = ledgers[channel_name(account)]
            if not ledger.gaps:
                held = history.transfers()
                assert ledger.transfers == held[len(held) - len(ledger.transfers) :]
                assert list(shown.transfers) == ledger.transfers
