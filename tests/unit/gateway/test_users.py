from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.live.outbox import Outbox
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.live.users import Users
from livebalance.wire.timestamp import Millis

WALL = Millis(1_795_000_000_000)


def rights(seconds: float) -> Rights:
    return Rights("me", "login", parse_scope(["*"]), WALL // 1000, Millis(int(WALL + seconds * 1000)))


def users_with_one_session(seconds: float) -> tuple[Users, Session]:
    """The rights of the session end after these seconds."""
    users = Users(10)
    session = Session("s", "10.0.0.1", Outbox(1000), 128, SessionLimits())
    assert users.add(session, rights(seconds), 0.0, WALL)
    return users, session


def test_row_12_session_is_due_a_minute_before_its_rights_end_and_at_their_end() -> None:
    users, session = users_with_one_session(600)
    assert not list(users.pop_due(539.9))
    assert list(users.pop_due(540.1)) == [session]
    assert session.ends_at == 600
    assert not list(users.pop_due(599.9))
    assert list(users.pop_due(600.1)) == [session]


def test_session_with_renewed_rights_is_due_later() -> None:
    users, session = users_with_one_session(600)
    users.renew(session, rights(1200), 590.0, Millis(WALL + 590_000))
    assert not list(users.pop_due(1139.0))
    assert list(users.pop_due(1141.0)) == [session]


def test_session_with_rights_that_are_past_their_end_lasts_for_the_leeway() -> None:
    users, session = users_with_one_session(-10)
    assert list(users.pop_due(1.0)) == [session]
    assert session.ends_at == LEEWAY - 10


def test_session_that_was_removed_is_not_due() -> None:
    users, session = users_with_one_session(600)
    users.remove(session)
    assert not list(users.pop_due(1000.0))
