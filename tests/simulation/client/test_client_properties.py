"""The client's state machine has the properties, and each of its rules is needed for them."""

from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from livebalance.client import account, channel, channels, session
from livebalance.client.account import Account
from livebalance.client.channel import Channel
from livebalance.wire.frame import ChannelRequest, DeltaFrame, Snapshot
from livebalance.wire.identity import Epoch, Position, channel_account, channel_name
from tests.mutation.conviction import convicted_by
from tests.simulation.client.properties import ClientMachine
from tests.simulation.seed import run_machine
from tests.simulation.steps import search

# To shrink a failure takes longer than a test usually may.
pytestmark = pytest.mark.timeout(900)

RUN = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SCHEDULES, STEPS = 3000, 30  # of the search for a mutant, which is found after a hundred


def test_client_has_the_properties() -> None:
    run_machine(ClientMachine, RUN)


# --- mutants: each breaks one rule

APPLY_DELTA = account._apply_delta


def apply_without_checking_from(state: Account | None, frame: DeltaFrame) -> Account:
    position = Position(Epoch(frame.epoch), frame.to)
    return account._apply_next(state or Account(channel_account(frame.channel), position), frame)


def forget_the_position(self: Channel) -> ChannelRequest:
    return ChannelRequest(channel_name(self.account), None)


def ignore_the_gap(self: channels.Channels, *_: Any) -> None:
    return None


def ignore_the_epoch(state: Account | None, frame: DeltaFrame) -> Any:
    if state and state.position.revision == frame.from_:
        return account._apply_next(state, frame)
    return APPLY_DELTA(state, frame)


def take_any_snapshot(state: Account | None, frame: Snapshot) -> Account:
    position = Position(Epoch(frame.epoch), frame.revision)
    return Account(channel_account(frame.channel), position, frame.balance, tuple(reversed(frame.transfers)))


def keep_old_subscriptions(self: channels.Channels) -> None:
    pass


# Parts of the assertions in properties.py and of the texts of tests/checker.py.
CURRENT = "shown.position == Position(self.projection.epoch, history.revision)"
SHOWN = "account != ACCOUNTS[0]"  # the account that is followed from the start shows something
CHAINED = "Violation: does not follow"
NAMED_GAP = "names no gap"

# The last field of a mutant is the assertion that it breaks.
MUTANTS: dict[str, tuple[object, str, object, str | tuple[str, ...]]] = {
    "a delta applies only at its `from`": (account, "_apply_delta", apply_without_checking_from, CHAINED),
    "a reconnect names the position": (Channel, "to_request", forget_the_position, CURRENT),
    "a gap is requested again": (channels.Channels, "_retry_later", ignore_the_gap, CURRENT),
    "deltas never cross epochs": (account, "_apply_delta", ignore_the_epoch, CHAINED),
    "a position never goes back, and skips only with a named gap": (
        account,
        "_apply_snapshot",
        take_any_snapshot,
        NAMED_GAP,
    ),
    "each new connection subscribes again": (
        channels.Channels,
        "resubscribe_all",
        keep_old_subscriptions,
        CURRENT,
    ),
    "a silent connection is closed": (session, "SILENT_HEARTBEATS", inf, (SHOWN, CURRENT)),
    "a request without an answer is repeated": (channel, "ANSWER_TIMEOUT", inf, SHOWN),
}


@pytest.mark.mutant
@pytest.mark.parametrize("rule", MUTANTS)
def test_client_without_the_rule_lacks_a_property(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target, name, mutant, reason = MUTANTS[rule]
    monkeypatch.setattr(target, name, mutant)
    with convicted_by(*([reason] if isinstance(reason, str) else reason)):
        search(ClientMachine, range(SCHEDULES), STEPS)
