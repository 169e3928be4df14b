"""The session's state machine: when it reconnects, when it stops, and what it requests."""

import json
from math import inf
from typing import Any

import pytest

from livebalance.client.account import Account
from livebalance.client.effects import (
    CloseSocket,
    ConnectionLost,
    Effect,
    Emit,
    FetchToken,
    Input,
    OpenSocket,
    Received,
    Send,
    Stop,
    Tick,
    TokenFetched,
)
from livebalance.client.event import Changed, Connected, Disconnected, Ended
from livebalance.client.session import _FRAMES, _TABLE, SILENT_HEARTBEATS, WELCOME_TIMEOUT, Session, State
from livebalance.wire.close import CloseCode as Code
from livebalance.wire.frame import (
    MAX_CLIENT_FRAME,
    AuthExpiring,
    Error,
    Goaway,
    Heartbeat,
    Ok,
    ServerFrame,
    Unsubscribed,
    encode_frame,
)
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Position, Revision
from tests.unit.client.frames import ACCOUNT, CHANNEL, EPOCH, TIME, delta, snapshot, welcome

FIRST_URL, SECOND_URL = "ws://one/ws", "ws://two/ws"
NOW = 100.0


def receive(session: Session, frame: ServerFrame, now: float = NOW, jitter: float = 0.5) -> list[Effect]:
    return session.step(Received(encode_frame(frame)), now, jitter)


def opened(*accounts: str) -> Session:
    """A session that received `welcome` and has subscribed to these accounts."""
    session = Session([FIRST_URL, SECOND_URL])
    for account in accounts:
        session.follow(AccountId(account))
    session.step(Tick(), NOW, 0.5)
    receive(session, welcome())
    return session


def live() -> Session:
    """A session that has ACCOUNT at revision 2."""
    session = opened(ACCOUNT)
    receive(session, snapshot(2))
    receive(session, Ok(1))
    return session


def sent(effects: list[Effect]) -> list[dict[str, Any]]:
    return [json.loads(effect.text) for effect in effects if isinstance(effect, Send)]


def events(effects: list[Effect]) -> list[Any]:
    return [effect.event for effect in effects if isinstance(effect, Emit)]


def next_effect(session: Session) -> float:
    """Time of the next effect without further input. A deadline may be too early and have no effect."""
    for _ in range(9):
        deadline = session.deadline
        if session.step(Tick(), deadline, 0.5):
            return deadline
    raise AssertionError("ticks at the deadline have no effect")


def subscribe(id_: int, revision: int | None) -> dict[str, Any]:
    position = {} if revision is None else {"position": {"epoch": EPOCH, "revision": revision}}
    return {"type": "subscribe", "id": id_, "channels": [{"channel": CHANNEL, **position}]}


def test_tables_are_complete() -> None:
    assert set(_TABLE) == {(state, input_) for state in State for input_ in Input.__args__}
    assert set(_FRAMES) == {*ServerFrame.__args__, type(None)}


def test_session_connects_at_the_first_tick_and_subscribes_after_welcome() -> None:
    session = Session([FIRST_URL])
    session.follow(ACCOUNT)
    assert session.deadline == 0.0
    assert session.step(Tick(), NOW, 0.5) == [OpenSocket(FIRST_URL)]
    effects = receive(session, welcome())
    assert [type(event) for event in events(effects)] == [Connected]
    assert sent(effects) == [subscribe(1, None)]


def test_frame_changes_the_state_and_is_emitted() -> None:
    session = live()
    [event] = events(receive(session, delta(2, 3)))
    assert event == Changed(event.account, delta(2, 3))
    assert session.account_state(ACCOUNT) == event.account
    assert event.account.position == Position(Epoch(EPOCH), Revision(3))


def test_reconnect_sends_the_position_and_keeps_the_state() -> None:
    session = live()
    state = session.account_state(ACCOUNT)
    assert events(session.step(ConnectionLost(1006, ""), NOW, 0.5)) == [Disconnected(1006, "", 0.25)]
    assert session.step(Tick(), NOW + 0.25, 0.5) == [OpenSocket(SECOND_URL)]
    assert sent(receive(session, welcome())) == [subscribe(2, 2)]
    assert session.account_state(ACCOUNT) == state
    assert receive(session, Ok(2)) == []
    assert next_effect(session) == NOW + 25


def test_subscribe_frames_stay_below_the_size_limit() -> None:
    session = Session([FIRST_URL])
    for n in range(250):
        session.follow(AccountId(f"{n:064}"), Position(Epoch(EPOCH), Revision(MAX_REVISION)))
    session.step(Tick(), NOW, 0.5)
    texts = [effect.text for effect in receive(session, welcome()) if isinstance(effect, Send)]
    assert sum(len(json.loads(text)["channels"]) for text in texts) == 250
    assert len(texts) == 3
    assert max(map(len, texts)) <= MAX_CLIENT_FRAME


# --- reconnects


def test_delay_has_full_jitter_and_doubles_up_to_its_maximum() -> None:
    session = Session([FIRST_URL])
    delays = []
    for _ in range(9):
        session.step(Tick(), session.deadline, 0.0)
        [event] = events(session.step(ConnectionLost(1006, "refused"), NOW, 0.999999))
        delays.append(round(event.retry_in, 2))
    assert delays == [0.5, 1, 2, 4, 8, 16, 20, 20, 20]


def test_heartbeat_resets_the_backoff() -> None:
    session = Session([FIRST_URL])
    for _ in range(5):
        session.step(Tick(), session.deadline, 0.5)
        session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.step(Tick(), session.deadline, 0.5)
    receive(session, welcome())
    receive(session, Heartbeat(TIME, None))
    [event] = events(session.step(ConnectionLost(1006, ""), NOW, 0.5))
    assert event.retry_in == 0.25


@pytest.mark.parametrize(
    ("code", "reason", "delay"),
    [
        (Code.GOODBYE, '{"code":"drain","retry_after_ms":4000}', 2.0),
        (Code.BUSY, '{"code":"busy","retry_after_ms":4000}', 4.25),
        (Code.TOKEN_EXPIRED, "", 0.25),
        (Code.GOING_AWAY, "", 0.25),
        (Code.INTERNAL, "not json", 0.25),
        (4321, "a code of a later version", 0.25),
    ],
)
def test_session_reconnects_after_a_temporary_close_code(code: int, reason: str, delay: float) -> None:
    session = live()
    assert events(session.step(ConnectionLost(code, reason), NOW, 0.5)) == [Disconnected(code, reason, delay)]
    assert session.deadline == NOW + delay


def test_goodbye_is_no_failure_so_a_refused_attempt_is_repeated_at_once() -> None:
    session = live()
    session.step(ConnectionLost(Code.GOODBYE, '{"code":"drain","retry_after_ms":100}'), NOW, 0.999)
    session.step(Tick(), session.deadline, 0.0)
    [event] = events(session.step(ConnectionLost(1006, "refused"), NOW, 0.999999))
    assert round(event.retry_in, 2) == 0.5


@pytest.mark.parametrize("code", [1003, 1007, 1009, 4500, 4501, 4503, 4505, 4506, 4509, 4999])
def test_session_stops_after_a_final_close_code(code: int) -> None:
    session = live()
    assert events(session.step(ConnectionLost(code, ""), NOW, 0.5)) == [Disconnected(code, "", None)]
    assert session.state is State.STOPPED
    assert session.deadline == inf


def test_silence_of_two_and_a_half_heartbeats_aborts_the_connection() -> None:
    session = live()
    receive(session, Heartbeat(TIME, None), NOW + 10)
    timeout = NOW + 10 + SILENT_HEARTBEATS * 10
    assert session.deadline == timeout
    assert session.step(Tick(), timeout - 0.001, 0.5) == []
    assert session.step(Tick(), timeout, 0.5) == [
        CloseSocket(1006, abort=True),
        Emit(Disconnected(1006, "silent", 0.25)),
    ]


def test_any_frame_postpones_the_timeout() -> None:
    session = live()
    receive(session, delta(2, 3), NOW + 20)
    assert session.deadline == NOW + 45


def test_missing_welcome_aborts_the_connection() -> None:
    session = Session([FIRST_URL, SECOND_URL])
    session.step(Tick(), NOW, 0.5)
    assert session.deadline == NOW + WELCOME_TIMEOUT
    assert session.step(Tick(), NOW + WELCOME_TIMEOUT - 0.001, 0.5) == []
    assert session.step(Tick(), NOW + WELCOME_TIMEOUT, 0.5) == [
        CloseSocket(1006, abort=True),
        Emit(Disconnected(1006, "no welcome", 0.25)),
    ]


def test_frames_before_welcome_are_ignored() -> None:
    session = Session([FIRST_URL])
    session.step(Tick(), NOW, 0.5)
    assert receive(session, snapshot(1)) == []
    assert session.state is State.CONNECTING


@pytest.mark.parametrize("welcomed", [True, False])
def test_invalid_frame_closes_the_connection_and_tries_the_next_address(welcomed: bool) -> None:
    session = live() if welcomed else Session([FIRST_URL, SECOND_URL])
    session.step(Tick(), NOW, 0.5)
    effects = session.step(Received("{"), NOW, 0.5)
    assert effects == [
        CloseSocket(4500),
        Emit(Disconnected(1006, "not a frame of this protocol", 0.25)),
    ]
    assert session.step(Tick(), session.deadline, 0.5) == [OpenSocket(SECOND_URL)]


def test_frame_type_of_a_later_version_is_ignored() -> None:
    assert live().step(Received('{"type":"confetti"}'), NOW, 0.5) == []


def test_goaway_reconnects_within_the_given_time() -> None:
    session = live()
    receive(session, Goaway("drain", 8000), NOW, 0.25)
    assert session.deadline == NOW + 2
    assert events(receive(session, delta(2, 3), NOW + 1)) != []
    effects = session.step(Tick(), NOW + 2, 0.5)
    assert effects == [
        CloseSocket(1000),
        Emit(Disconnected(Code.GOODBYE, "reconnecting after goaway", 0.0)),
    ]
    assert session.step(Tick(), NOW + 2, 0.5) == [OpenSocket(SECOND_URL)]
    assert sent(receive(session, welcome(), NOW + 2)) == [subscribe(2, 3)]


def test_stop_closes_the_connection_and_ignores_further_input() -> None:
    session = live()
    assert session.step(Stop(), NOW, 0.5) == [CloseSocket(1000)]
    assert session.state is State.STOPPED
    for input_ in (Tick(), ConnectionLost(1006, ""), Stop(), Received(encode_frame(delta(2, 3)))):
        assert session.step(input_, NOW + 99, 0.5) == []


def test_stop_before_a_connection_closes_nothing() -> None:
    session = Session([FIRST_URL])
    assert session.step(Stop(), NOW, 0.5) == []
    assert (session.state, session.deadline) == (State.STOPPED, inf)


def test_session_without_an_address_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"^a session needs an address$"):
        Session([])


def test_tick_before_the_next_attempt_does_nothing() -> None:
    session = live()
    session.step(ConnectionLost(1006, ""), NOW, 0.5)
    assert session.step(Tick(), NOW + 0.249, 0.5) == []
    assert session.step(Tick(), NOW + 0.25, 0.5) == [OpenSocket(SECOND_URL)]


def test_connected_names_the_gateway() -> None:
    session = Session([FIRST_URL])
    session.step(Tick(), NOW, 0.5)
    frame = welcome()
    [event] = events(receive(session, frame))
    assert event == Connected(FIRST_URL, frame.gateway, frame.session, frame.epoch, frame.limits)


def test_repeated_failures_of_all_kinds_back_off() -> None:
    session = Session([FIRST_URL])
    delays = []
    for end in (ConnectionLost(1006, ""), Received("{"), Tick()):
        session.step(Tick(), session.deadline, 0.5)
        now = session.deadline if isinstance(end, Tick) else NOW
        [event] = events(session.step(end, now, 0.5))
        delays.append(event.retry_in)
        assert session.deadline == now + event.retry_in
    assert delays == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("frame", [Heartbeat(TIME, None), Ok(1)])
def test_frame_that_shows_a_working_connection_resets_the_backoff(frame: ServerFrame) -> None:
    session = opened(ACCOUNT)
    session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.step(Tick(), session.deadline, 0.5)
    receive(session, welcome())
    receive(session, frame)
    [event] = events(session.step(ConnectionLost(1006, ""), NOW, 0.5))
    assert event.retry_in == 0.25


def test_session_connects_to_its_addresses_in_turn() -> None:
    session = Session(["ws://a", "ws://b", "ws://c"])
    urls = []
    for _ in range(4):
        urls += session.step(Tick(), session.deadline, 0.5)
        session.step(ConnectionLost(1006, ""), NOW, 0.5)
    assert urls == [OpenSocket(url) for url in ("ws://a", "ws://b", "ws://c", "ws://a")]


# --- rate and token


def test_rate_is_sent_once_to_each_connection() -> None:
    session = live()
    session.rate(5.0)
    assert session.deadline == 0.0
    rate = {"type": "rate", "id": "rate", "max_per_second": 5.0}
    assert sent(session.step(Tick(), NOW, 0.5)) == [rate]
    assert sent(session.step(Tick(), NOW, 0.5)) == []
    session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.step(Tick(), session.deadline, 0.5)
    assert sent(receive(session, welcome())) == [rate, subscribe(2, 2)]
    session.rate(None)
    assert sent(session.step(Tick(), NOW, 0.5)) == [{**rate, "max_per_second": None}]


def test_token_that_expires_is_replaced() -> None:
    session = live()
    frame = AuthExpiring(TIME)
    assert receive(session, frame) == [FetchToken(), Emit(frame)]
    assert sent(session.step(TokenFetched("new"), NOW, 0.5)) == [
        {"type": "refresh", "id": "refresh", "token": "new"}
    ]


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


def encode_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
