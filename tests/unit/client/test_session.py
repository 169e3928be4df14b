"""The session's connection: when it connects and reconnects, and when it stops."""

import json
from math import inf, nan

import pytest

from livebalance.client.effects import (
    CloseSocket,
    ConnectionLost,
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
from livebalance.client.event import Changed, Connected, Disconnected
from livebalance.client.session import _FRAMES, _TABLE, SILENT_HEARTBEATS, WELCOME_TIMEOUT, Session, State
from livebalance.wire.close import CloseCode as Code
from livebalance.wire.frame import (
    MAX_CLIENT_FRAME,
    AuthExpiring,
    Goaway,
    Heartbeat,
    Ok,
    ServerFrame,
    encode_frame,
)
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Position, Revision
from tests.unit.client.frames import ACCOUNT, EPOCH, TIME, delta, snapshot, welcome
from tests.unit.client.sessions import (
    FIRST_URL,
    NOW,
    SECOND_URL,
    events,
    live,
    next_effect,
    opened,
    receive,
    sent,
    subscribe,
)


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


@pytest.mark.parametrize("code", [1003, 1007, 1009, 4500, 4501, 4503, 4506, 4509, 4999])
def test_session_stops_after_a_final_close_code(code: int) -> None:
    session = live()
    assert events(session.step(ConnectionLost(code, ""), NOW, 0.5)) == [Disconnected(code, "", None)]
    assert session.state is State.STOPPED
    assert session.deadline == inf


def test_too_many_connections_end_a_session_that_was_never_open() -> None:
    session = Session([FIRST_URL])
    session.step(Tick(), NOW, 0.5)
    assert events(session.step(ConnectionLost(4505, ""), NOW, 0.5)) == [Disconnected(4505, "", None)]
    assert session.state is State.STOPPED


def test_too_many_connections_are_waited_for_after_the_network_lost_some() -> None:
    """Until the gateway notices it, the lost connections of many sockets count for their user."""
    session = live()
    for delay in (30.25, 30.5):
        lost = ConnectionLost(4505, "")
        assert events(session.step(lost, NOW, 0.5)) == [Disconnected(4505, "", delay)]
        assert session.deadline == NOW + delay
        session.step(Tick(), session.deadline, 0.5)


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
@pytest.mark.parametrize(("seconds", "retry_in"), [(4.9, 0.5), (5.0, 0.25)])
def test_connection_that_lasts_resets_the_backoff(
    frame: ServerFrame, seconds: float, retry_in: float
) -> None:
    """A gateway may answer, and fail then, each time."""
    session = opened(ACCOUNT)
    session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.step(Tick(), session.deadline, 0.5)
    receive(session, welcome())
    receive(session, frame, NOW + seconds)
    [event] = events(session.step(ConnectionLost(1006, ""), NOW + seconds, 0.5))
    assert event.retry_in == retry_in


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
    assert session.deadline <= NOW
    rate = {"type": "rate", "id": "rate", "max_per_second": 5.0}
    assert sent(session.step(Tick(), NOW, 0.5)) == [rate]
    assert sent(session.step(Tick(), NOW, 0.5)) == []
    session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.step(Tick(), session.deadline, 0.5)
    assert sent(receive(session, welcome())) == [rate, subscribe(2, 2)]
    session.rate(None)
    assert sent(session.step(Tick(), NOW, 0.5)) == [{**rate, "max_per_second": None}]


def test_highest_rate_is_sent() -> None:
    session = live()
    session.rate(1000.0)
    assert [frame["max_per_second"] for frame in sent(session.step(Tick(), NOW, 0.5))] == [1000.0]


def test_request_that_has_to_wait_is_sent_at_the_deadline() -> None:
    session = live()
    for number in range(15):  # at once, with the subscribe before them
        session.rate(1.0 + number)
        due = max(NOW, session.deadline)
        assert due == pytest.approx(NOW if number < 14 else NOW + 0.2)
        assert sent(session.step(Tick(), due - 0.001, 0.5)) == [] or number < 14
        session.step(Tick(), due, 0.5)
        assert session.deadline > due + 1


@pytest.mark.parametrize("rate", [0.0, -1.0, 1000.5, inf, nan])
def test_rate_out_of_bounds_is_rejected(rate: float) -> None:
    with pytest.raises(ValueError, match=r"^a rate is above 0 and at most 1000, not "):
        live().rate(rate)


def test_token_that_expires_is_replaced() -> None:
    session = live()
    frame = AuthExpiring(TIME)
    assert receive(session, frame) == [FetchToken(), Emit(frame)]
    assert sent(session.step(TokenFetched("new"), NOW, 0.5)) == [
        {"type": "refresh", "id": "refresh", "token": "new"}
    ]
