"""The gateway's pure core has the properties, and each of its rules is needed for them."""

from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, settings
from msgspec.structs import replace

from livebalance.gateway.auth.gate import Gate
from livebalance.gateway.live import channel, hub, outbox, recovery, sessions, subscribers
from livebalance.gateway.live.channel import Channel, StoredPosition
from livebalance.gateway.live.history import History
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.outbox import Frame, Outbox
from livebalance.gateway.live.recovery import Recovery
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import Sessions
from livebalance.gateway.live.subscribers import Subscribers
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState, AuditFinding
from livebalance.wire.delta import Delta
from livebalance.wire.frame import SnapshotReason
from livebalance.wire.identity import INITIAL_REVISION, AccountId, Position
from livebalance.wire.timestamp import Millis
from tests.mutation.conviction import convicted_by
from tests.simulation.gateway.bounds import SMALL_BOUNDS
from tests.simulation.gateway.properties import ACCOUNTS, Faulty, Forging, LosingCommits, Lossless, Revoking
from tests.simulation.seed import run_machine
from tests.simulation.steps import search

# To shrink a failure takes longer than a test usually may.
pytestmark = pytest.mark.timeout(900)

RUN = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SCHEDULES, STEPS = 3000, 50  # of the search for a mutant, which is found after a few hundred at most


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name, bound in SMALL_BOUNDS:
        monkeypatch.setattr(module, name, bound)


def test_gateway_with_faults_and_audits_has_the_properties() -> None:
    run_machine(Faulty, RUN)


def test_gateway_with_forged_deltas_has_the_properties() -> None:
    run_machine(Forging, RUN)


def test_gateway_without_loss_has_the_properties_without_audits() -> None:
    run_machine(Lossless, RUN)


def test_gateway_with_erasures_and_lost_commits_has_the_properties() -> None:
    run_machine(LosingCommits, RUN)


def test_gateway_with_revocations_has_the_properties() -> None:
    run_machine(Revoking, RUN)


def test_slow_client_keeps_no_forged_delta_that_a_snapshot_replaced_for_others() -> None:
    """No short search finds this. Postgres reaches the forged position while the client is slow."""
    machine = Forging()
    machine.begin(changes=6, all_subscribed=True)
    machine.forge(account=ACCOUNTS[1], gone=False)
    machine.set_rate(number=0, per_second=8.0)
    machine.change_often_while_a_client_is_blocked(number=2, account=ACCOUNTS[0], times=6)
    machine.change_often_while_a_client_is_blocked(number=0, account=ACCOUNTS[1], times=5)
    machine.forge(account=ACCOUNTS[1], gone=False)
    machine.teardown()


def test_slow_client_keeps_no_forged_delta_that_a_read_has_led_on_from() -> None:
    """When an audit finds the forged delta, this client is at a position that the channel has not reached."""
    machine = Forging()
    machine.begin(changes=0, all_subscribed=True)
    machine.forge(account=ACCOUNTS[1], gone=False)
    for number, account, times in ((0, 0, 1), (1, 1, 5), (0, 1, 5)):
        machine.change_often_while_a_client_is_blocked(number, ACCOUNTS[account], times)
    machine.restart_redis()
    machine.change_often_while_a_client_is_blocked(number=0, account=ACCOUNTS[1], times=3)
    machine.teardown()


def test_client_that_was_sent_what_postgres_lost_replaces_it_after_a_rebuild_too() -> None:
    """A read from before the client asked finds the loss. The read for the client is of a new epoch."""
    machine = LosingCommits()
    machine.begin(changes=1, all_subscribed=True)
    machine.lose_commits(account=ACCOUNTS[1], count=1)
    for _ in range(3):
        machine.continue_audit()
    machine.run_read(index=0)
    machine.resume(number=0, account=ACCOUNTS[1])
    machine.rebuild()
    machine.change(account=ACCOUNTS[1], transfers=[False], header_only=False)
    machine.teardown()


# --- mutants: each breaks one rule

BEGIN_READ, MOVE_TO, RECOVER, POP = Channel.begin_read, Channel._move_to, recovery.recover, Outbox.pop
ADVANCE, CHAIN, REASON = Channel._advance, History.chain, recovery._reason
DELTA_FRAME = channel.delta_frame


def read_before_the_acknowledgement(self: Channel) -> Any:
    self.subscribed = True
    return BEGIN_READ(self)


def buffer_nothing(self: Channel, frame: Frame) -> None:
    pass


def relay_whatever_arrives(self: Channel, frame: Frame) -> bool:
    if not frame.text:
        return ADVANCE(self, frame)
    self.position = frame.after
    return True


def ignore_the_epoch(self: Channel, frame: Frame) -> bool:
    if self.position and frame.before and frame.before.revision == self.position.revision and frame.text:
        self.position = frame.after
        self._check_expected()
        return True
    if self.position is None or frame.after.revision > self.position.revision:
        self._open_gap("gap")
    return False


def ignore_the_overflow(self: Channel, recovery: Recovery, overflowed: bool) -> list[Frame]:
    return MOVE_TO(self, recovery, False)


def drop_without_catching_up(self: Session) -> None:
    self.outbox.drop_data()


def keep_only_the_newest(run: list[Frame]) -> Frame:
    return replace(run[-1], before=run[0].before)


def write_before_it_is_due(self: Outbox, now: float) -> list[Frame | bytes]:
    self.due = now
    return POP(self, now)


def put_without_a_bound(self: Outbox, frame: Frame) -> bool:
    self._frames.append(frame)
    self._size += len(frame.text)
    return True


def take_a_page_for_everything(query: AccountQuery, state: AccountState) -> Recovery:
    correct = RECOVER(query, state)
    return correct._replace(reached=correct.current)


def take_an_overlapping_delta_for_past(
    position: Position | None, frame: Frame
) -> Literal["next", "past", "gap"]:
    return "next" if position == frame.before else "past"


def claim_what_still_waits(session: Session) -> Millis | None:
    subscriptions = session.subscriptions.values()
    times = [subscription.subscribers.channel.as_of for subscription in subscriptions]
    known = [time for time in times if time is not None]
    return min(known) if known and len(known) == len(times) else None


def chain_in_spite_of_a_dropped_frame(
    self: History, account: AccountId, start: Position | None, end: Position
) -> list[Frame]:
    return CHAIN(self, account, start, end) or []


def unsubscribe_and_keep_what_waits(self: Hub, session: Session, account: AccountId) -> None:
    if subscription := session.subscriptions.get(account):
        subscription.subscribers.unsubscribe(subscription)
        self._remove_if_empty(subscription.subscribers)


def keep_what_was_erased(position: Position | None, state: AccountState) -> SnapshotReason:
    return REASON(position, state._replace(erased_revision=INITIAL_REVISION))


def expect_what_was_lost(self: Channel, asked: Position, stored: StoredPosition) -> None:
    self.expect(stored)


def stay_open(_: Gate, now: float) -> bool:
    return now >= 0


def do_nothing(*_: Any) -> bool:
    return False


def confirm_other_content(subscribers: Subscribers, asked: Position, finding: AuditFinding) -> None:
    subscribers.channel.confirm_content()


def confirm_what_a_snapshot_follows(self: Channel, *_: object) -> None:
    self.content = None


def end_on_the_word_of_redis(account: AccountId, delta: Delta) -> Frame:
    before, after = Position(delta.epoch, delta.from_), Position(delta.epoch, delta.to)
    return recovery.erased_frame(account, before, after) if delta.gone else DELTA_FRAME(account, delta)


# Parts of the assertions in properties.py, client.py and world.py. The last field of a mutant is the one that
# it breaks.
CURRENT = "screen.position == Position(self.projection.epoch, history.revision)"
CURRENT_STATE = (
    CURRENT,
    "screen.balance == history.balance()",
    "screen.transfers == transfers[len(transfers) - len(screen.transfers) :]",
)
KEPT = "all(transfer in transfers for transfer in screen.kept)"
CHAINED = "frames must chain"
NAMED_GAP = "self.position == Position(Epoch(frame.epoch), frame.gap.from_)"
# A client that shows erased transfers is told of a gap instead.
ERASED = ("frame.gap.from_ >= erased_revision", "frame.gap.to == frame.revision >")
RATE = "self.now >= client.written_at + client.interval"
BOUND = "outbox.size <= CLIENT_QUEUE_BYTES"
RIGHTS = "a frame of a revoked account was written"
CLAIMED = "not commits or (position is not None and has_reached(position, commits[-1]))"

# What an audit would repair is seen only where no audit runs.
MUTANTS: dict[str, tuple[object, str, object, type[Lossless], str | tuple[str, ...]]] = {
    "the first read waits for the acknowledgement": (
        Channel,
        "begin_read",
        read_before_the_acknowledgement,
        Lossless,
        CURRENT,
    ),
    "deltas are buffered during a read": (Channel, "_buffer", buffer_nothing, Lossless, CURRENT),
    "another read follows after the buffer overflowed": (
        Channel,
        "_move_to",
        ignore_the_overflow,
        Lossless,
        CURRENT,
    ),
    "only the next delta is relayed": (Channel, "_advance", relay_whatever_arrives, Faulty, CHAINED),
    "deltas never cross epochs": (Channel, "_advance", ignore_the_epoch, Faulty, CHAINED),
    "an overdue revision of an audit is read": (Channel, "check_overdue", do_nothing, Faulty, CURRENT),
    "subscriptions catch up on what an outbox dropped": (
        Session,
        "overflow",
        drop_without_catching_up,
        Lossless,
        (CURRENT, CHAINED),
    ),
    "a merged delta says what all its deltas say": (
        outbox,
        "_merge",
        keep_only_the_newest,
        Lossless,
        CHAINED,
    ),
    "the rate of a client is kept": (Outbox, "pop", write_before_it_is_due, Lossless, RATE),
    "an outbox is bounded": (Outbox, "put", put_without_a_bound, Lossless, BOUND),
    "a page ends at its last transfer": (
        hub,
        "recover",
        take_a_page_for_everything,
        Lossless,
        (CURRENT, CHAINED),
    ),
    "a subscription ahead of its channel takes no overlapping delta": (
        subscribers,
        "fit",
        take_an_overlapping_delta_for_past,
        Faulty,
        CURRENT,
    ),
    "a chain of the history is complete": (
        History,
        "chain",
        chain_in_spite_of_a_dropped_frame,
        Lossless,
        (NAMED_GAP, CHAINED, CURRENT),
    ),
    "a state from before an erasure is replaced": (
        recovery,
        "_reason",
        keep_what_was_erased,
        LosingCommits,
        (CURRENT, *ERASED),
    ),
    "an audit behind its question is a gap": (
        Channel,
        "on_audit",
        expect_what_was_lost,
        LosingCommits,
        CURRENT,
    ),
    "a gateway that was paused first reads revocations": (Gate, "is_open", stay_open, Revoking, RIGHTS),
    "other content is replaced": (hub, "_compare_content", confirm_other_content, Forging, CURRENT_STATE),
    "what clients keep before a gap is audited": (
        Channel,
        "_replace_content",
        confirm_what_a_snapshot_follows,
        Forging,
        KEPT,
    ),
    "only Postgres ends a subscription": (
        channel,
        "delta_frame",
        end_on_the_word_of_redis,
        Forging,
        "nothing was erased",
    ),
    "revoked accounts are unsubscribed": (Sessions, "_unsubscribe_hidden", do_nothing, Revoking, RIGHTS),
    "an unsubscribed account's frames are dropped": (
        Hub,
        "unsubscribe",
        unsubscribe_and_keep_what_waits,
        Revoking,
        RIGHTS,
    ),
    "a heartbeat claims only what was sent": (
        sessions,
        "_complete_as_of",
        claim_what_still_waits,
        Lossless,
        CLAIMED,
    ),
}


@pytest.mark.mutant
@pytest.mark.parametrize("rule", MUTANTS)
def test_gateway_without_the_rule_lacks_a_property(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, mutant, machine, reason = MUTANTS[rule]
    monkeypatch.setattr(target, name, mutant)
    with convicted_by(*([reason] if isinstance(reason, str) else reason)):
        search(machine, range(SCHEDULES), STEPS)
