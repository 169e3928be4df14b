from livebalance.gateway.auth.rights import LEEWAY, Rights, parse_scope
from livebalance.gateway.live.deadlines import Deadline, Deadlines, no_deadlines
from livebalance.gateway.live.outbox import Outbox
from livebalance.gateway.live.session import Session, SessionLimits
from livebalance.gateway.live.users import Users
from livebalance.wire.timestamp import Millis

WALL = Millis(1_795_000_000_000)


def rights(seconds: float) -> Rights:
    return Rights("me", "login", parse_scope(["*"]), WALL // 1000, Millis(int(WALL + seconds * 1000)))


def make_session() -> Session:
    return Session("s", "10.0.0.1", Outbox(1000), 128, SessionLimits())


class Clock:
    """A user with a session, whose rights end after these seconds."""

    def __init__(self, seconds: float) -> None:
        self.deadlines, self.session = Deadlines[Session](), make_session()
        self.users = Users(10, self.deadlines)
        assert self.users.add(self.session, rights(seconds), 0.0, WALL)

    def due(self, now: float) -> list[Deadline]:
        return [deadline for _, deadline, _ in self.deadlines.pop_due(now)]


def test_row_12_session_is_due_a_minute_before_its_rights_end_and_at_their_end() -> None:
    clock = Clock(600)
    assert not clock.due(539.9)
    assert clock.due(540.1) == [Deadline.WARN]
    assert not clock.due(599.9)
    assert clock.due(600.1) == [Deadline.EXPIRE]


def test_session_with_renewed_rights_is_due_later() -> None:
    clock = Clock(600)
    clock.users.renew(clock.session, rights(1200), 590.0, Millis(WALL + 590_000))
    assert not clock.due(1139.0)
    assert clock.due(1141.0) == [Deadline.WARN]


def test_client_that_refreshes_with_little_time_is_warned_at_half_of_it() -> None:
    clock = Clock(600)
    clock.users.renew(clock.session, rights(600), 560.0, Millis(WALL + 560_000))
    assert not clock.due(579.9)
    assert clock.due(580.1) == [Deadline.WARN]


def test_client_that_refreshes_with_the_same_token_again_and_again_is_warned_a_few_times() -> None:
    """Programs that keep tokens return the same until its end."""
    clock, warnings = Clock(600), 0
    for tick in range(2400):
        now = tick / 4
        if Deadline.WARN in clock.due(now):
            warnings += 1
            clock.users.renew(clock.session, rights(600), now, Millis(int(WALL + now * 1000)))
    assert 2 <= warnings < 15


def test_session_with_rights_that_are_past_their_end_lasts_for_the_leeway() -> None:
    clock = Clock(-10)
    assert clock.due(1.0) == [Deadline.WARN]
    assert not clock.due(LEEWAY - 10.1)
    assert clock.due(LEEWAY - 10.0) == [Deadline.EXPIRE]


def test_session_that_was_removed_is_not_due() -> None:
    clock = Clock(600)
    clock.users.remove(clock.session)
    assert not clock.due(1000.0)


def test_user_with_the_most_connections_is_rejected_until_one_of_them_ends() -> None:
    users, sessions = Users(2, Deadlines()), [make_session() for _ in range(4)]
    assert [users.add(session, rights(600), 0.0, WALL) for session in sessions] == [True, True, False, False]
    assert users.add(make_session(), rights(600)._replace(subject="other"), 0.0, WALL)
    users.remove(sessions[2])  # it has no rights
    assert not users.add(sessions[2], rights(600), 0.0, WALL)
    users.remove(sessions[0])
    assert sessions[0].rights is None
    assert [users.add(session, rights(600), 0.0, WALL) for session in sessions[2:]] == [True, False]


def test_user_without_connections_is_forgotten() -> None:
    clock = Clock(600)
    users, session = clock.users, clock.session
    users.remove(session)
    users.remove(session)
    assert (session.rights, session.deadlines) == (None, no_deadlines())
    assert not users._connections
