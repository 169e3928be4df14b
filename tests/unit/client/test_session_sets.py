"""The sets of a client's session: requests, pages, gaps, errors and reconnects."""

import pytest

from livebalance.client import SetChanged, SetEnded
from livebalance.client.channel import ANSWER_TIMEOUT
from livebalance.client.effects import ConnectionLost, Effect, Tick
from livebalance.client.session import Session
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import Error, SetDelta, SetSnapshot, Unsubscribed
from livebalance.wire.identity import AccountId, Revision, SetName
from livebalance.wire.views import MemberView, TotalView
from tests.unit.client.frames import EPOCH, welcome
from tests.unit.client.sessions import FIRST_URL, NOW, events, receive, sent

CHANNEL = "prefix:EU-"
NAME = SetName("prefix", "EU-")


def member(account: str, amount: str) -> MemberView:
    return MemberView(AccountId(account), Revision(1), amount, "EUR", "c", None)


def total(amount: str, accounts: int) -> list[TotalView]:
    return [TotalView("EUR", amount, accounts)]


FIRST_PAGE = SetSnapshot(
    channel=CHANNEL, epoch=EPOCH, to=1, members=[member("EU-1", "1.00")], more=True, reason="subscribed"
)
LAST_PAGE = SetDelta(
    channel=CHANNEL,
    epoch=EPOCH,
    from_=1,
    to=2,
    members=[member("EU-2", "2.00")],
    totals=total("3.00", 2),
    lanes={"0": 5, "1": 7},
)
LEFT = SetDelta(
    channel=CHANNEL,
    epoch=EPOCH,
    from_=2,
    to=3,
    members=[],
    left=[AccountId("EU-1")],
    totals=total("2.00", 1),
    lanes={"0": 6},
)


def following() -> Session:
    """A session that has subscribed to a set."""
    session = Session([FIRST_URL])
    session.follow_set(CHANNEL)
    session.step(Tick(), NOW, 0.5)
    assert requests(receive(session, welcome())) == [[CHANNEL]]
    return session


def requests(effects: list[Effect]) -> list[list[str]]:
    return [
        [request["channel"] for request in frame["channels"]]
        for frame in sent(effects)
        if frame["type"] == "subscribe"
    ]


def test_set_changes_only_at_the_last_page() -> None:
    session = following()
    assert events(receive(session, FIRST_PAGE)) == []
    assert session.set_state(CHANNEL) is None
    [changed] = events(receive(session, LAST_PAGE))
    assert isinstance(changed, SetChanged)
    assert (changed.set.name, changed.set.epoch, changed.set.lanes) == (NAME, EPOCH, {"0": 5, "1": 7})
    assert set(changed.set.members) == {"EU-1", "EU-2"}
    assert changed.set.totals == (TotalView("EUR", "3.00", 2),)


def test_account_that_left_is_removed() -> None:
    session = following()
    for frame in (FIRST_PAGE, LAST_PAGE, LEFT):
        receive(session, frame)
    state = session.set_state(CHANNEL)
    assert state
    assert set(state.members) == {"EU-2"}
    assert state.lanes == {"0": 6, "1": 7}


def test_missing_frame_lets_the_set_be_requested_again() -> None:
    session = following()
    receive(session, FIRST_PAGE)
    effects = receive(session, LEFT)
    assert events(effects) == []
    assert requests([*effects, *session.step(Tick(), NOW, 0.5)]) == [[CHANNEL]]
    assert events(receive(session, LAST_PAGE)) == []  # of the earlier subscription
    receive(session, FIRST_PAGE)
    assert len(events(receive(session, LAST_PAGE))) == 1


def test_unanswered_request_is_sent_again() -> None:
    session = following()
    assert requests(session.step(Tick(), NOW + ANSWER_TIMEOUT - 1, 0.5)) == []
    assert requests(session.step(Tick(), NOW + ANSWER_TIMEOUT, 0.5)) == [[CHANNEL]]


def test_temporary_error_is_retried_when_the_gateway_says() -> None:
    session = following()
    error = Error("unavailable", "later", temporary=True, channel=CHANNEL, retry_after_ms=500)
    assert events(receive(session, error)) == [error]
    assert requests(session.step(Tick(), NOW + 0.4, 0.5)) == []
    assert requests(session.step(Tick(), NOW + 0.5, 0.5)) == [[CHANNEL]]


def test_repeated_failures_of_a_set_back_off_with_jitter() -> None:
    session = following()
    error = Error("unavailable", "later", temporary=True, channel=CHANNEL)
    assert requests(receive(session, error)) == [[CHANNEL]]
    receive(session, error, jitter=0.5)
    assert session.deadline == NOW + 0.5


def test_set_that_stays_without_answer_is_requested_with_backoff() -> None:
    session = following()
    session.step(Tick(), NOW + ANSWER_TIMEOUT, 0.5)
    assert requests(session.step(Tick(), NOW + 2 * ANSWER_TIMEOUT, 0.5)) == []
    assert session.deadline == NOW + 2 * ANSWER_TIMEOUT + 0.5


@pytest.mark.parametrize(
    "frame",
    [
        Error("no_access", "no access to this set", temporary=False, channel=CHANNEL),
        Unsubscribed(CHANNEL, "revoked", "access was revoked"),
    ],
)
def test_set_ends_with_its_code(frame: Error | Unsubscribed) -> None:
    session = following()
    assert events(receive(session, frame)) == [SetEnded(NAME, frame.code, frame.message)]
    assert events(receive(session, FIRST_PAGE)) == []


def test_error_of_the_whole_request_ends_its_sets() -> None:
    session = following()
    error = Error("limit", "at most 4 sets", temporary=False, id="set-1")
    assert events(receive(session, error)) == [SetEnded(NAME, "limit", "at most 4 sets")]


def test_temporary_error_of_the_whole_request_is_retried() -> None:
    session = following()
    error = Error("rate_limited", "too many requests", temporary=True, id="set-1", retry_after_ms=500)
    assert events(receive(session, error)) == [error]
    assert requests(session.step(Tick(), NOW + 0.4, 0.5)) == []
    assert requests(session.step(Tick(), NOW + 0.5, 0.5)) == [[CHANNEL]]


def test_state_does_not_change_with_later_frames() -> None:
    session = following()
    receive(session, FIRST_PAGE)
    [changed] = events(receive(session, LAST_PAGE))
    assert isinstance(changed, SetChanged)
    receive(session, LEFT)
    assert set(changed.set.members) == {"EU-1", "EU-2"}


def test_reconnect_requests_the_set_again() -> None:
    session = following()
    receive(session, FIRST_PAGE)
    session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.step(Tick(), NOW + 60, 0.5)
    assert requests(receive(session, welcome(), now=NOW + 60)) == [[CHANNEL]]


def test_unfollowed_set_is_unsubscribed_and_causes_no_event() -> None:
    session = following()
    receive(session, FIRST_PAGE)
    session.unfollow_set(CHANNEL)
    frames = sent(session.step(Tick(), NOW, 0.5))
    assert [(frame["type"], frame["channels"]) for frame in frames] == [("unsubscribe", [CHANNEL])]
    assert events(receive(session, LAST_PAGE)) == []


def test_other_name_is_rejected() -> None:
    with pytest.raises(DecodeError):
        Session([FIRST_URL]).follow_set("account:a")
