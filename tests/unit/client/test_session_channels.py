"""The session's channels: what it requests, and how it answers gaps, errors and silence."""

from random import Random
from typing import Any

import pytest

from livebalance.client.account import Account
from livebalance.client.effects import (
    Effect,
    Emit,
    Send,
    Tick,
)
from livebalance.client.event import Ended
from livebalance.client.session import Session
from livebalance.gateway.limits.rate import RateLimiter
from livebalance.gateway.live.session import SessionLimits
from livebalance.wire.frame import (
    Error,
    Heartbeat,
    Ok,
    Unsubscribed,
)
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.unit.client.frames import ACCOUNT, CHANNEL, EPOCH, LIMITS, TIME, delta, snapshot, welcome
from tests.unit.client.sessions import (
    FIRST_URL,
    NOW,
    encode_json,
    events,
    live,
    next_effect,
    opened,
    receive,
    sent,
    subscribe,
)

# --- gaps and answers


def test_follow_since_a_position_begins_there() -> None:
    session, since = Session([FIRST_URL]), Position(Epoch(EPOCH), Revision(7))
    session.follow(ACCOUNT, since)
    assert session.account_state(ACCOUNT) == Account(ACCOUNT, since)
    session.step(Tick(), NOW, 0.5)
    assert sent(receive(session, welcome())) == [subscribe(1, 7)]


def test_frames_about_an_account_that_is_not_followed_change_nothing() -> None:
    session = live()
    session.unfollow(AccountId("other"))
    assert receive(session, Unsubscribed("account:other", "gone", "erased")) == []
    error = Error("no_access", "not yours", False, channel="account:other")
    assert receive(session, error) == [Emit(error)]
    assert session.account_state(ACCOUNT) is not None


def test_temporary_error_without_a_wait_is_retried_at_once_and_then_later() -> None:
    session = opened(ACCOUNT)
    error = Error("unavailable", "later", True, channel=CHANNEL)
    assert sent(receive(session, error)) == [subscribe(2, None)]
    assert sent(receive(session, error)) == []
    assert session.deadline == NOW + 0.5
    session.step(Tick(), NOW + 0.5, 0.5)
    receive(session, error)
    assert session.deadline == NOW + 1


def test_request_that_stays_without_answer_is_repeated_with_backoff() -> None:
    session = opened(ACCOUNT)
    assert sent(session.step(Tick(), NOW + 10, 0.5)) == [subscribe(2, None)]
    assert sent(session.step(Tick(), NOW + 20, 0.5)) == []
    assert session.deadline == NOW + 20.5


def test_frame_after_the_answer_timeout_repeats_the_request_too() -> None:
    session = opened(ACCOUNT)
    session.step(Tick(), NOW + 10, 0.5)
    assert sent(receive(session, Heartbeat(TIME, None), NOW + 20, jitter=0.5)) == []
    assert session.deadline == NOW + 20.5


def test_answer_concerns_the_channels_of_its_request_only() -> None:
    session = opened(ACCOUNT)
    session.follow(AccountId("later"))
    session.step(Tick(), NOW, 0.5)
    final = Error("no_access", "not yours", False, id=2)
    assert events(receive(session, final)) == [Ended(AccountId("later"), "no_access", "not yours")]
    receive(session, snapshot(2))
    late = Error("no_access", "not yours", False, id=1)
    assert events(receive(session, late)) == [late]  # the request was answered


def test_unsubscribe_frames_name_at_most_100_channels() -> None:
    accounts = [f"a{number}" for number in range(150)]
    session = opened(*accounts)
    for account in accounts:
        session.unfollow(AccountId(account))
    frames = sent(session.step(Tick(), NOW, 0.5))
    assert [len(frame["channels"]) for frame in frames] == [100, 50]


def test_gap_is_requested_once_from_the_current_position() -> None:
    session = live()
    effects = receive(session, delta(4, 5))
    assert [event.position.revision for event in events(effects)] == [2]
    assert sent(effects) == [subscribe(2, 2)]
    assert receive(session, delta(5, 6)) == []  # sent before the gateway received the request
    assert session.account_state(ACCOUNT).position.revision == 2  # type: ignore[union-attr]
    assert events(receive(session, delta(2, 6))) != []
    assert events(receive(session, delta(6, 7))) != []


def test_repeated_gaps_are_requested_with_backoff() -> None:
    session = live()
    assert sent(receive(session, delta(4, 5))) == [subscribe(2, 2)]
    receive(session, Ok(2))
    assert sent(receive(session, delta(5, 6))) == []
    assert session.deadline == NOW + 0.5
    assert sent(session.step(Tick(), NOW + 0.5, 0.5)) == [subscribe(3, 2)]


def test_request_without_answer_is_repeated() -> None:
    session = opened(ACCOUNT)
    assert session.deadline == NOW + 10
    assert sent(session.step(Tick(), NOW + 10, 0.5)) == [subscribe(2, None)]


def test_ok_alone_does_not_answer_a_request_without_position() -> None:
    session = opened(ACCOUNT)
    receive(session, Ok(1))
    assert session.deadline == NOW + 10  # the snapshot is still to come


@pytest.mark.parametrize("about", [{"channel": CHANNEL}, {"id": 1}])
def test_temporary_error_is_retried_after_its_wait(about: dict[str, Any]) -> None:
    session = opened(ACCOUNT)
    error = Error("unavailable", "later", True, retry_after_ms=3000, **about)
    assert events(receive(session, error)) == [error]
    assert session.deadline == NOW + 3
    assert sent(session.step(Tick(), NOW + 3, 0.5)) == [subscribe(2, None)]


def test_retries_of_many_accounts_stay_within_the_rate_of_the_gateway() -> None:
    """A gateway whose Postgres is slow answers each account at its own time, with a wait of its own."""
    accounts = [f"a{number}" for number in range(LIMITS.subscriptions)]
    session, random, now = opened(*accounts), Random(0), NOW
    messages = RateLimiter(SessionLimits().messages, 3 * SessionLimits().messages)
    waiting = list(accounts)
    while now < NOW + 60:
        effects: list[Effect] = []
        if waiting:
            now += 0.007
            channel, wait = f"account:{waiting.pop()}", random.randint(1000, 3000)
            error = Error("unavailable", "later", True, channel=channel, retry_after_ms=wait)
            effects = receive(session, error, now, random.random())
        if not effects:
            now = max(now, session.deadline)
            effects = session.step(Tick(), now, random.random())
        for frame in sent(effects):
            assert messages.try_acquire(now) == 0
            waiting += [channel["channel"].removeprefix("account:") for channel in frame["channels"]]


@pytest.mark.parametrize("about", [{"channel": CHANNEL}, {"id": 1}])
def test_final_error_ends_the_channel(about: dict[str, Any]) -> None:
    session = opened(ACCOUNT)
    assert events(receive(session, Error("no_access", "not yours", False, **about))) == [
        Ended(ACCOUNT, "no_access", "not yours")
    ]
    assert session.account_state(ACCOUNT) is None
    assert next_effect(session) == NOW + 25


def test_error_without_a_channel_is_emitted() -> None:
    error = Error("bad_message", "what?", False)
    assert events(receive(live(), error)) == [error]


def test_unsubscribed_ends_the_channel() -> None:
    session = live()
    unsubscribed = Unsubscribed(CHANNEL, "gone", "erased")
    assert events(receive(session, unsubscribed)) == [Ended(ACCOUNT, "gone", "erased")]
    assert session.account_state(ACCOUNT) is None
    assert receive(session, delta(2, 3)) == []


def test_unfollow_unsubscribes_and_ends_the_events_of_the_account() -> None:
    session = live()
    session.unfollow(ACCOUNT)
    assert session.deadline == 0.0
    assert receive(session, delta(2, 3)) == [
        Send(encode_json({"type": "unsubscribe", "id": 2, "channels": [CHANNEL]}))
    ]
    assert receive(session, delta(3, 4)) == []


def test_unfollow_before_the_request_sends_nothing() -> None:
    session = Session([FIRST_URL])
    session.follow(ACCOUNT)
    session.unfollow(ACCOUNT)
    session.step(Tick(), NOW, 0.5)
    assert sent(receive(session, welcome())) == []


def test_follow_after_unfollow_unsubscribes_first() -> None:
    session = live()
    session.unfollow(ACCOUNT)
    session.follow(ACCOUNT)
    assert [frame["type"] for frame in sent(session.step(Tick(), NOW, 0.5))] == ["unsubscribe", "subscribe"]
