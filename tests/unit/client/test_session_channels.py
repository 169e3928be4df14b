"""The session's channels: what it requests, and how it answers gaps, errors and silence."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from livebalance.client.account import Account, MissedRevisions
from livebalance.client.effects import (
    ConnectionLost,
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
    Patch,
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


# --- patches


def test_session_asks_for_patches_only_if_it_wants_them() -> None:
    for patches in (False, True):
        session = Session([FIRST_URL], patches=patches)
        session.follow(ACCOUNT)
        session.step(Tick(), NOW, 0.5)
        [frame] = sent(receive(session, welcome()))
        assert frame.get("features") == (["patches"] if patches else None)


def test_patch_that_does_not_follow_is_a_gap_that_is_retried_with_backoff() -> None:
    session = live()
    patch = Patch(CHANNEL, EPOCH, Revision(4), Revision(5), TIME)
    effects = receive(session, patch)
    missed = MissedRevisions(
        ACCOUNT, Position(Epoch(EPOCH), Revision(2)), Epoch(EPOCH), Revision(4), Revision(5)
    )
    assert events(effects) == [missed]
    assert sent(effects) == [subscribe(2, 2)]
    receive(session, Ok(2))
    assert sent(receive(session, patch)) == []
    assert session.deadline == NOW + 0.5


def test_patch_after_a_snapshot_is_a_gap() -> None:
    """It refers to a delta of this connection, and there is none."""
    session = live()
    receive(session, delta(2, 3))
    receive(session, snapshot(4, reason="ahead"))
    effects = receive(session, Patch(CHANNEL, EPOCH, Revision(4), Revision(5), TIME))
    assert [type(event) for event in events(effects)] == [MissedRevisions]


# --- the gateway's limit of messages


@dataclass
class Gateway:
    """Rejects nothing: a session may not even reach the rate at which it would."""

    now: float = NOW
    messages: RateLimiter = field(
        default_factory=lambda: RateLimiter(SessionLimits().messages, 3 * SessionLimits().messages)
    )
    subscribed: set[str] = field(default_factory=set)

    def take(self, effects: list[Effect]) -> list[str]:
        """Takes the messages of a step. Returns the accounts that they subscribe to."""
        added: list[str] = []
        for frame in sent(effects):
            assert self.messages.try_acquire(self.now) == 0
            if frame["type"] == "subscribe":
                added += [channel["channel"].removeprefix("account:") for channel in frame["channels"]]
            elif frame["type"] == "unsubscribe":
                self.subscribed -= {channel.removeprefix("account:") for channel in frame["channels"]}
        self.subscribed.update(added)
        return added

    def wait(self, session: Session, seconds: float) -> None:
        """Lets time pass until the session has nothing to send for a while."""
        until = self.now + seconds
        while session.deadline < until:
            self.now = max(self.now, session.deadline)
            self.take(session.step(Tick(), self.now, 0.5))
        self.now = until


def test_retries_of_many_accounts_stay_within_the_rate_of_the_gateway() -> None:
    """A gateway whose Postgres is slow answers each account at its own time, with a wait of its own."""
    waiting = [f"a{number}" for number in range(LIMITS.subscriptions)]
    session, random, gateway = opened(*waiting), Random(0), Gateway()
    while gateway.now < NOW + 60:
        effects: list[Effect] = []
        if waiting:
            gateway.now += 0.007
            error = Error("unavailable", "later", True, channel=f"account:{waiting.pop()}")
            if random.random() < 0.9:
                error = replace(error, retry_after_ms=random.randint(1000, 3000))
            effects = receive(session, error, gateway.now, random.random())
        if not effects:
            gateway.now = max(gateway.now, session.deadline)
            effects = session.step(Tick(), gateway.now, random.random())
        waiting += gateway.take(effects)


def test_gaps_of_many_accounts_stay_within_the_rate_of_the_gateway() -> None:
    accounts = [f"a{number}" for number in range(LIMITS.subscriptions)]
    session, gateway = opened(*accounts), Gateway()
    for account in accounts:
        receive(session, replace(snapshot(2), channel=f"account:{account}"))
    for account in accounts:
        gateway.now += 0.005
        effects = receive(session, replace(delta(4, 5), channel=f"account:{account}"), gateway.now)
        gateway.take(effects)
    gateway.wait(session, 2.0)
    assert gateway.subscribed == set(accounts)


def test_accounts_followed_and_unfollowed_one_by_one_stay_within_the_rate_of_the_gateway() -> None:
    """As in a list through which the user moves with a key held down."""
    session, gateway = opened(), Gateway()
    for number in range(300):
        gateway.now += 0.02
        session.follow(AccountId(f"a{number}"))
        session.rate(1 + number)
        if number >= 10:
            session.unfollow(AccountId(f"a{number - 10}"))
        if session.deadline <= gateway.now:
            gateway.take(session.step(Tick(), gateway.now, 0.5))
    gateway.wait(session, 2.0)
    assert gateway.subscribed == {f"a{number}" for number in range(290, 300)}


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
    assert session.deadline <= NOW
    assert receive(session, delta(2, 3)) == [
        Send(encode_json({"type": "unsubscribe", "id": 2, "channels": [CHANNEL]}))
    ]
    assert receive(session, delta(3, 4)) == []


def test_unfollow_while_a_retry_waits_unsubscribes() -> None:
    """The gateway may have the subscription: a gap, too, makes a client ask again."""
    session = live()
    receive(session, delta(4, 5))
    receive(session, Ok(2))
    receive(session, delta(5, 6))
    session.unfollow(ACCOUNT)
    assert [frame["type"] for frame in sent(session.step(Tick(), NOW, 0.5))] == ["unsubscribe"]


def test_unfollow_on_a_new_connection_without_a_request_sends_nothing() -> None:
    session = live()
    session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.unfollow(ACCOUNT)
    session.step(Tick(), session.deadline, 0.5)
    assert sent(receive(session, welcome())) == []


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
