"""The client's machine obeys the law, and each of its rules is needed for that."""

from math import inf
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from livebalance.client import account, channel, channels, session
from livebalance.client.account import Account
from livebalance.client.channel import Channel
from livebalance.wire.frame import ChannelRequest, DeltaFrame, Snapshot
from livebalance.wire.identity import Epoch, Position, channel_account, channel_name
from tests.simulation.client.law import Law

RUN = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SEARCH = settings(
    RUN,
    max_examples=1500,
    derandomize=True,
    database=None,
    print_blob=False,
    phases=[Phase.generate],  # the first run that breaks the law is enough
    report_multiple_bugs=False,
)


def test_the_client_obeys_the_law() -> None:
    run_state_machine_as_test(Law, settings=RUN)


def applies_without_checking_from(held: Account | None, frame: DeltaFrame) -> Account:
    at = Position(Epoch(frame.epoch), frame.to)
    return account._apply_next(held or Account(channel_account(frame.channel), at), frame)


def forgets_the_position(self: Channel) -> ChannelRequest:
    return ChannelRequest(channel_name(self.account), None)


def lets_holes_be(self: channels.Channels, *_: Any) -> None:
    return None


def ignores_the_epoch(held: Account | None, frame: DeltaFrame) -> Any:
    if held and held.position.revision == frame.from_:
        return account._apply_next(held, frame)
    return TRUE_DELTA(held, frame)


def takes_any_snapshot(held: Account | None, frame: Snapshot) -> Account:
    at = Position(Epoch(frame.epoch), frame.revision)
    return Account(channel_account(frame.channel), at, frame.balance, tuple(reversed(frame.transfers)))


def goes_on_where_it_was(self: channels.Channels) -> None:
    """After a reconnect it believes that it still follows."""


TRUE_DELTA = account._apply_delta

MUTANTS: dict[str, tuple[object, str, object]] = {
    "a delta applies only at its from": (account, "_apply_delta", applies_without_checking_from),
    "a reconnect names the position": (Channel, "to_request", forgets_the_position),
    "a hole is asked for": (channels.Channels, "_retry_later", lets_holes_be),
    "deltas never cross epochs": (account, "_apply_delta", ignores_the_epoch),
    "a position never goes back, nor skips without a gap": (account, "_apply_snapshot", takes_any_snapshot),
    "every connection subscribes anew": (channels.Channels, "resubscribe_all", goes_on_where_it_was),
    "silence is death": (session, "SILENT_HEARTBEATS", inf),
    "a question without an answer is put again": (channel, "ANSWER_TIMEOUT", inf),
}


@pytest.mark.mutant
@pytest.mark.parametrize("rule", MUTANTS)
def test_without_the_rule_the_law_is_broken(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, mutant = MUTANTS[rule]
    monkeypatch.setattr(where, name, mutant)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Law, settings=SEARCH)
