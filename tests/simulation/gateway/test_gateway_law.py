"""The gateway's machines obey the law, and each of its rules is needed for that."""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from livebalance.gateway.live import channel, hub, outbox, recovery, session, sessions, subscribers
from livebalance.gateway.live.channel import Channel
from livebalance.gateway.live.history import History
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.outbox import Frame, Outbox
from livebalance.gateway.live.recovery import Recovery
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import Sessions
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState
from livebalance.wire.identity import AccountId, Position
from tests.simulation.gateway.law import Distrustful, Faithful, Faulty

RUN = settings(
    max_examples=200,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SEARCH = settings(
    RUN,
    max_examples=3000,
    derandomize=True,
    database=None,
    print_blob=False,
    phases=[Phase.generate],
    report_multiple_bugs=False,  # they would come as a group
)


@pytest.fixture(autouse=True)
def _bounds_that_are_met(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of production would not be reached by so few frames."""
    monkeypatch.setattr(channel, "KEPT_BYTES", 1200)
    monkeypatch.setattr(channel, "READ_AT_ONCE", 2)
    monkeypatch.setattr(session, "READS_AT_ONCE", 1)


def test_the_gateway_obeys_the_law() -> None:
    run_state_machine_as_test(Faulty, settings=RUN)


def test_without_loss_it_needs_no_audit() -> None:
    run_state_machine_as_test(Faithful, settings=RUN)


def test_what_was_taken_back_is_not_sent() -> None:
    run_state_machine_as_test(Distrustful, settings=RUN)


TRUE_BEGIN, TRUE_MOVE, TRUE_ANSWER, TRUE_POP = Channel.begin, Channel._move, recovery.recover, Outbox.pop
TRUE_CHAIN = History.chain


def reads_before_the_acknowledgement(self: Channel) -> Any:
    self.subscribed = True
    return TRUE_BEGIN(self)


def keeps_nothing(self: Channel, one: Frame) -> None:
    """While a read is on its way."""


def lets_holes_be(self: Channel, one: Frame) -> bool:
    """Whatever comes is relayed."""
    self.at = one.after
    return True


def ignores_the_epoch(self: Channel, one: Frame) -> bool:
    if self.at and one.before and one.before.revision == self.at.revision and one.text:
        self.at = one.after
        self._settle()
        return True
    if self.at is None or one.after.revision > self.at.revision:
        self._open_hole("gap")
    return False


def forgets_that_much_was_dropped(self: Channel, answered: Recovery, overflowed: bool) -> list[Frame]:
    return TRUE_MOVE(self, answered, False)


def drops_without_remembering(self: Session) -> None:
    self.outbox.forget_all()


def keeps_the_newest(run: list[Frame]) -> Frame:
    """Of what becomes one."""
    return replace(run[-1], before=run[0].before)


def is_in_a_hurry(self: Outbox, now: float) -> list[Frame | bytes]:
    self.due = now
    return TRUE_POP(self, now)


def is_never_full(self: Outbox, parcel: Frame) -> bool:
    self._frames.append(parcel)
    self._size += len(parcel.text)
    return True


def calls_a_page_the_whole(asked: AccountQuery, found: AccountState) -> Recovery:
    right = TRUE_ANSWER(asked, found)
    return right._replace(at=right.truth)


def takes_a_straddling_delta_for_past(at: Position | None, parcel: Frame) -> bool | None:
    return at == parcel.before


def claims_what_waits(session: Session) -> Any:
    known = [one.audience.channel.as_of for one in session.followers.values()]
    return None if not known or None in known else min(one for one in known if one is not None)


def leads_anywhere(self: History, account: AccountId, at: Position | None, to: Position) -> list[Frame]:
    """As if nothing of it were ever dropped."""
    return TRUE_CHAIN(self, account, at, to) or []


def leaves_what_waits(self: Hub, session: Session, account: AccountId) -> None:
    if mine := session.followers.get(account):
        mine.audience.leave(mine)
        self._close_if_empty(mine.audience)


def never(*_: object) -> bool:
    return False


# Each with the world in which it is needed: what an audit would heal shows only where none runs.
MUTANTS: dict[str, tuple[object, str, object, type[Faithful]]] = {
    "the first read waits for the acknowledgement": (
        Channel,
        "begin",
        reads_before_the_acknowledgement,
        Faithful,
    ),
    "deltas are kept while a read is on its way": (Channel, "_keep", keeps_nothing, Faithful),
    "after too much was kept another read follows": (
        Channel,
        "_move",
        forgets_that_much_was_dropped,
        Faithful,
    ),
    "only the next delta is relayed": (Channel, "_advance", lets_holes_be, Faulty),
    "frames never cross epochs": (Channel, "_advance", ignores_the_epoch, Faulty),
    "what an audit found and does not come is read": (Channel, "overdue", never, Faulty),
    "what an outbox drops is remembered": (Session, "overflow", drops_without_remembering, Faithful),
    "what becomes one says all": (outbox, "_joined", keeps_the_newest, Faithful),
    "a client's rate is kept": (Outbox, "pop", is_in_a_hurry, Faithful),
    "an outbox is bounded": (Outbox, "put", is_never_full, Faithful),
    "a page ends at its last transfer": (hub, "recover", calls_a_page_the_whole, Faithful),
    "who is apart takes no delta that straddles": (
        subscribers,
        "fits",
        takes_a_straddling_delta_for_past,
        Faulty,
    ),
    "what was relayed lately leads to where the channel is": (History, "chain", leads_anywhere, Faithful),
    "who may see an account no longer is left": (Sessions, "_leave_hidden", never, Distrustful),
    "of an account that is left nothing waits": (Hub, "leave", leaves_what_waits, Distrustful),
    "only what was sent is claimed complete": (sessions, "_complete_as_of", claims_what_waits, Faithful),
}


@pytest.mark.mutant
@pytest.mark.parametrize("rule", MUTANTS)
def test_without_the_rule_the_law_is_broken(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, mutant, law = MUTANTS[rule]
    monkeypatch.setattr(where, name, mutant)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(law, settings=SEARCH)
