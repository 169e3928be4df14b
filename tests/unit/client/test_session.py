"""The machine of the connection: when it comes back, when it gives up, what it asks."""

import json
from math import inf
from typing import Any

import pytest

from livebalance.client.effects import (
    CloseSocket,
    ConnectionLost,
    Effect,
    Emit,
    Input,
    OpenSocket,
    Received,
    Send,
    Stop,
    Tick,
)
from livebalance.client.event import Changed, Connected, Disconnected, Ended
from livebalance.client.session import _FRAMES, _TABLE, DEAD_AFTER, WELCOME_WITHIN, Session, State
from livebalance.wire.close import CloseCode as Code
from livebalance.wire.frame import (
    MAX_CLIENT_FRAME,
    Error,
    Goaway,
    Heartbeat,
    Ok,
    ServerFrame,
    Unsubscribed,
    encode,
)
from livebalance.wire.identity import MAX_REVISION, AccountId, Epoch, Position, Revision
from tests.unit.client.frames import ACCOUNT, CHANNEL, EPOCH, WHEN, delta, snapshot, welcome

ONE, TWO = "ws://one/ws", "ws://two/ws"
NOW = 100.0


def hears(session: Session, frame: ServerFrame, now: float = NOW, chance: float = 0.5) -> list[Effect]:
    return session.step(Received(encode(frame)), now, chance)


def opened(*accounts: str) -> Session:
    """Welcomed, and following each account from its snapshot at revision 2 on, if it is ACCOUNT."""
    session = Session([ONE, TWO])
    for account in accounts:
        session.follow(AccountId(account))
    session.step(Tick(), NOW, 0.5)
    hears(session, welcome())
    return session


def live() -> Session:
    session = opened(ACCOUNT)
    hears(session, snapshot(2))
    hears(session, Ok(1))
    return session


def said(effects: list[Effect]) -> list[dict[str, Any]]:
    return [json.loads(effect.text) for effect in effects if isinstance(effect, Send)]


def told(effects: list[Effect]) -> list[Any]:
    return [effect.event for effect in effects if isinstance(effect, Emit)]


def next_word(session: Session) -> float:
    """When the machine does something if nothing happens: a deadline may come and mean nothing."""
    while not session.step(Tick(), at := session.deadline, 0.5):
        pass
    return at


def subscribe(id_: int, revision: int | None) -> dict[str, Any]:
    at = {} if revision is None else {"position": {"epoch": EPOCH, "revision": revision}}
    return {"type": "subscribe", "id": id_, "channels": [{"channel": CHANNEL, **at}]}


def test_every_state_has_an_answer_to_every_input_and_every_frame() -> None:
    assert set(_TABLE) == {(state, what) for state in State for what in Input.__args__}
    assert set(_FRAMES) == {*ServerFrame.__args__, type(None)}


def test_it_connects_at_the_first_tick_and_subscribes_with_the_welcome() -> None:
    session = Session([ONE])
    session.follow(ACCOUNT)
    assert session.deadline == 0.0
    assert session.step(Tick(), NOW, 0.5) == [OpenSocket(ONE)]
    effects = hears(session, welcome())
    assert [type(event) for event in told(effects)] == [Connected]
    assert said(effects) == [subscribe(1, None)]


def test_a_frame_changes_the_account_and_is_handed_on() -> None:
    session = live()
    [event] = told(hears(session, delta(2, 3)))
    assert event == Changed(event.account, delta(2, 3))
    assert session.shown(ACCOUNT) == event.account
    assert event.account.position == Position(Epoch(EPOCH), Revision(3))


def test_a_reconnect_names_the_position_and_keeps_what_is_shown() -> None:
    session = live()
    shown = session.shown(ACCOUNT)
    assert told(session.step(ConnectionLost(1006, ""), NOW, 0.5)) == [Disconnected(1006, "", 0.25)]
    assert session.step(Tick(), NOW + 0.25, 0.5) == [OpenSocket(TWO)]
    assert said(hears(session, welcome())) == [subscribe(2, 2)]
    assert session.shown(ACCOUNT) == shown
    assert hears(session, Ok(2)) == []
    assert next_word(session) == NOW + 25


def test_accounts_are_asked_for_in_frames_that_a_gateway_takes() -> None:
    session = Session([ONE])
    for n in range(250):
        session.follow(AccountId(f"{n:064}"), Position(Epoch(EPOCH), Revision(MAX_REVISION)))
    session.step(Tick(), NOW, 0.5)
    sent = [effect.text for effect in hears(session, welcome()) if isinstance(effect, Send)]
    assert sum(len(json.loads(text)["channels"]) for text in sent) == 250
    assert len(sent) == 3
    assert max(map(len, sent)) <= MAX_CLIENT_FRAME


# --- coming back


def test_the_pause_is_full_jitter_and_doubles_up_to_its_longest() -> None:
    session = Session([ONE])
    longest = []
    for _ in range(9):
        session.step(Tick(), session.deadline, 0.0)
        [event] = told(session.step(ConnectionLost(1006, "refused"), NOW, 0.999999))
        longest.append(round(event.retry_in, 2))
    assert longest == [0.5, 1, 2, 4, 8, 16, 20, 20, 20]


def test_a_connection_of_use_makes_the_pause_short_again() -> None:
    session = Session([ONE])
    for _ in range(5):
        session.step(Tick(), session.deadline, 0.5)
        session.step(ConnectionLost(1006, ""), NOW, 0.5)
    session.step(Tick(), session.deadline, 0.5)
    hears(session, welcome())
    hears(session, Heartbeat(WHEN, None))
    [event] = told(session.step(ConnectionLost(1006, ""), NOW, 0.5))
    assert event.retry_in == 0.25


@pytest.mark.parametrize(
    ("code", "reason", "pause"),
    [
        (Code.GOODBYE, '{"code":"drain","retry_after_ms":4000}', 2.0),
        (Code.BUSY, '{"code":"busy","retry_after_ms":4000}', 4.25),
        (Code.TOKEN_EXPIRED, "", 0.25),
        (Code.GOING_AWAY, "", 0.25),
        (Code.INTERNAL, "nonsense", 0.25),
        (4321, "a code of a later version", 0.25),
    ],
)
def test_it_comes_back_when_the_close_code_says_so(code: int, reason: str, pause: float) -> None:
    session = live()
    assert told(session.step(ConnectionLost(code, reason), NOW, 0.5)) == [Disconnected(code, reason, pause)]
    assert session.deadline == NOW + pause


@pytest.mark.parametrize("code", [1003, 1007, 1009, 4500, 4501, 4503, 4505, 4506, 4509, 4999])
def test_it_stays_away_when_the_close_code_says_so(code: int) -> None:
    session = live()
    assert told(session.step(ConnectionLost(code, ""), NOW, 0.5)) == [Disconnected(code, "", None)]
    assert session.state is State.STOPPED
    assert session.deadline == inf


def test_silence_for_two_and_a_half_heartbeats_is_death() -> None:
    session = live()
    hears(session, Heartbeat(WHEN, None), NOW + 10)
    dead = NOW + 10 + DEAD_AFTER * 10
    assert session.deadline == dead
    assert session.step(Tick(), dead - 0.001, 0.5) == []
    assert session.step(Tick(), dead, 0.5) == [
        CloseSocket(1006, abort=True),
        Emit(Disconnected(1006, "silent", 0.25)),
    ]


def test_any_frame_is_a_sign_of_life() -> None:
    session = live()
    hears(session, delta(2, 3), NOW + 20)
    assert session.deadline == NOW + 45


def test_no_welcome_in_time_is_death_too() -> None:
    session = Session([ONE, TWO])
    session.step(Tick(), NOW, 0.5)
    assert session.deadline == NOW + WELCOME_WITHIN
    assert session.step(Tick(), NOW + WELCOME_WITHIN, 0.5)[0] == CloseSocket(1006, abort=True)


def test_before_the_welcome_nothing_else_counts() -> None:
    session = Session([ONE])
    session.step(Tick(), NOW, 0.5)
    assert hears(session, snapshot(1)) == []
    assert session.state is State.CONNECTING


@pytest.mark.parametrize("welcomed", [True, False])
def test_nonsense_ends_the_connection_and_the_next_address_is_tried(welcomed: bool) -> None:
    session = live() if welcomed else Session([ONE, TWO])
    session.step(Tick(), NOW, 0.5)
    effects = session.step(Received("{"), NOW, 0.5)
    assert effects[0] == CloseSocket(4500)
    assert session.step(Tick(), session.deadline, 0.5) == [OpenSocket(TWO)]


def test_a_type_of_a_later_version_is_ignored() -> None:
    assert live().step(Received('{"type":"confetti"}'), NOW, 0.5) == []


def test_after_a_goaway_it_leaves_within_the_time_and_connects_at_once() -> None:
    session = live()
    hears(session, Goaway("drain", 8000), NOW, 0.25)
    assert session.deadline == NOW + 2
    assert told(hears(session, delta(2, 3), NOW + 1)) != []
    effects = session.step(Tick(), NOW + 2, 0.5)
    assert effects[0] == CloseSocket(1000)
    assert session.step(Tick(), NOW + 2, 0.5) == [OpenSocket(TWO)]
    assert said(hears(session, welcome(), NOW + 2)) == [subscribe(2, 3)]


def test_stop_says_goodbye_and_then_nothing_happens_any_more() -> None:
    session = live()
    assert session.step(Stop(), NOW, 0.5) == [CloseSocket(1000)]
    assert session.state is State.STOPPED
    for what in (Tick(), ConnectionLost(1006, ""), Stop(), Received(encode(delta(2, 3)))):
        assert session.step(what, NOW + 99, 0.5) == []


# --- holes and answers


def test_a_hole_is_asked_for_once_from_what_is_shown() -> None:
    session = live()
    effects = hears(session, delta(4, 5))
    assert [event.held.revision for event in told(effects)] == [2]
    assert said(effects) == [subscribe(2, 2)]
    assert hears(session, delta(5, 6)) == []  # under way before the question arrived
    assert session.shown(ACCOUNT).position.revision == 2  # type: ignore[union-attr]
    assert told(hears(session, delta(2, 6))) != []
    assert told(hears(session, delta(6, 7))) != []


def test_holes_without_end_are_asked_for_ever_later() -> None:
    session = live()
    assert said(hears(session, delta(4, 5))) == [subscribe(2, 2)]
    hears(session, Ok(2))
    assert said(hears(session, delta(5, 6))) == []
    assert session.deadline == NOW + 0.5
    assert said(session.step(Tick(), NOW + 0.5, 0.5)) == [subscribe(3, 2)]


def test_a_question_without_an_answer_is_put_again() -> None:
    session = opened(ACCOUNT)
    assert session.deadline == NOW + 10
    assert said(session.step(Tick(), NOW + 10, 0.5)) == [subscribe(2, None)]


def test_an_ok_alone_answers_who_named_a_position_and_nobody_else() -> None:
    session = opened(ACCOUNT)
    hears(session, Ok(1))
    assert session.deadline == NOW + 10  # the snapshot is still to come


@pytest.mark.parametrize("about", [{"channel": CHANNEL}, {"id": 1}])
def test_a_temporary_error_is_asked_again_after_its_time(about: dict[str, Any]) -> None:
    session = opened(ACCOUNT)
    error = Error("unavailable", "later", True, retry_after_ms=3000, **about)
    assert told(hears(session, error)) == [error]
    assert session.deadline == NOW + 3
    assert said(session.step(Tick(), NOW + 3, 0.5)) == [subscribe(2, None)]


@pytest.mark.parametrize("about", [{"channel": CHANNEL}, {"id": 1}])
def test_an_error_for_good_ends_the_channel(about: dict[str, Any]) -> None:
    session = opened(ACCOUNT)
    assert told(hears(session, Error("no_access", "not yours", False, **about))) == [
        Ended(ACCOUNT, "no_access", "not yours")
    ]
    assert session.shown(ACCOUNT) is None
    assert next_word(session) == NOW + 25


def test_an_error_about_nothing_we_follow_is_told() -> None:
    error = Error("bad_message", "what?", False)
    assert told(hears(live(), error)) == [error]


def test_the_gateway_may_end_a_channel() -> None:
    session = live()
    assert told(hears(session, Unsubscribed(CHANNEL, "gone", "erased"))) == [Ended(ACCOUNT, "gone", "erased")]
    assert session.shown(ACCOUNT) is None
    assert hears(session, delta(2, 3)) == []


def test_unfollow_is_told_to_the_gateway_and_silences_the_account() -> None:
    session = live()
    session.unfollow(ACCOUNT)
    assert session.deadline == 0.0
    assert hears(session, delta(2, 3)) == [
        Send(encode_json({"type": "unsubscribe", "id": 2, "channels": [CHANNEL]}))
    ]
    assert hears(session, delta(3, 4)) == []


def test_what_was_never_asked_for_needs_no_word() -> None:
    session = Session([ONE])
    session.follow(ACCOUNT)
    session.unfollow(ACCOUNT)
    session.step(Tick(), NOW, 0.5)
    assert said(hears(session, welcome())) == []


def test_follow_again_after_unfollow_unsubscribes_first() -> None:
    session = live()
    session.unfollow(ACCOUNT)
    session.follow(ACCOUNT)
    assert [frame["type"] for frame in said(session.step(Tick(), NOW, 0.5))] == ["unsubscribe", "subscribe"]


def encode_json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
