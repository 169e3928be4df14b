"""When the rights of a client end, and that it is told before."""

from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.live.outbox import Outbox
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.live.users import Users
from livebalance.wire.timestamp import Millis

WALL = Millis(1_795_000_000_000)


def rights(seconds: float) -> Rights:
    return Rights("me", "login", parse_scope(["*"]), WALL // 1000, Millis(int(WALL + seconds * 1000)))


def entered(seconds: float) -> tuple[Users, Session]:
    members = Users(10)
    session = Session("s", "10.0.0.1", Outbox(1000), 128, SessionLimits())
    assert members.enter(session, rights(seconds), 0.0, WALL)
    return members, session


def test_row_12_it_is_told_a_minute_before_and_ends_in_time() -> None:
    members, session = entered(600)
    assert not list(members.due(539.9))
    assert list(members.due(540.1)) == [session]
    assert session.ends == 600
    assert not list(members.due(599.9))
    assert list(members.due(600.1)) == [session]


def test_another_token_puts_the_end_off() -> None:
    members, session = entered(600)
    members.renew(session, rights(1200), 590.0, Millis(WALL + 590_000))
    assert not list(members.due(1139.0))
    assert list(members.due(1141.0)) == [session]


def test_a_token_that_was_taken_late_lasts_for_the_leeway() -> None:
    members, session = entered(-10)
    assert list(members.due(1.0)) == [session]
    assert session.ends == LEEWAY - 10


def test_who_left_is_not_told() -> None:
    members, session = entered(600)
    members.leave(session)
    assert not list(members.due(1000.0))
