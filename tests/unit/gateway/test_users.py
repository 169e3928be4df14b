from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.live.outbox import Outbox
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.live.users import Users
from livebalance.wire.timestamp import Millis

WALL = Millis(1_795_000_000_000)


def rights(seconds: float) -> Rights:
    return Rights("me", "login", parse_scope(["*"]), WALL // 1000, Millis(int(WALL + seconds * 1000)))


def make_session() -> Session:
    return Session("s", "10.0.0.1", Outbox(1000), 128, SessionLimits())


def users_with_one_session(seconds: float) -> tuple[Users, Session]:
    """The rights of the session end after these seconds."""
    users, session = Users(10), make_session()
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


def test_session_that_is_seen_only_at_the_end_of_its_rights_is_due_once() -> None:
    users, session = users_with_one_session(600)
    assert list(users.pop_due(600.0)) == [session]
    assert not list(users.pop_due(1000.0))
    users.renew(session, rights(1200), 1000.0, Millis(WALL + 1_000_000))
    assert list(users.pop_due(1140.0)) == [session]


def test_user_with_the_most_connections_is_rejected_until_one_of_them_ends() -> None:
    users, sessions = Users(2), [make_session() for _ in range(4)]
    assert [users.add(session, rights(600), 0.0, WALL) for session in sessions] == [True, True, False, False]
    assert users.add(make_session(), rights(600)._replace(subject="other"), 0.0, WALL)
    users.remove(sessions[2])  # it has no rights
    assert not users.add(sessions[2], rights(600), 0.0, WALL)
    users.remove(sessions[0])
    assert sessions[0].rights is None
    assert [users.add(session, rights(600), 0.0, WALL) for session in sessions[2:]] == [True, False]


def test_user_without_connections_is_forgotten() -> None:
    users, session = users_with_one_session(600)
    users.remove(session)
    users.remove(session)
    assert (session.rights, session.expiry_slot) == (None, None)
    assert not users._connections
