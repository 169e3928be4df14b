"""Clients that said who they are: how many of one user, and when the rights of each end."""

from collections import Counter
from collections.abc import Iterator

from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.live.collections import TimerWheel
from livebalance.gateway.live.session import Session
from livebalance.wire.timestamp import Millis

WARNED = 60.0  # seconds before the end


class Users:
    """Each stands in the timetable for what comes next for it: its warning, then its end."""

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._of_subject: Counter[str] = Counter()
        self._times: TimerWheel[Session] = TimerWheel()

    def enter(self, session: Session, rights: Rights, now: float, wall: Millis) -> bool:
        """False: there are as many of this user as there may be."""
        if self._of_subject[rights.subject] >= self._per_user:
            return False
        self._of_subject[rights.subject] += 1
        self.renew(session, rights, now, wall)
        return True

    def renew(self, session: Session, rights: Rights, now: float, wall: Millis) -> None:
        """Other rights of the same subject. A wall clock is looked at only here: later it may jump."""
        self._forget(session)
        session.rights = rights
        session.ends = now + (rights.ends_at(wall) - wall) / 1000
        session.slot = self._times.put(session, session.ends - WARNED)

    def leave(self, session: Session) -> None:
        self._forget(session)
        rights, session.rights = session.rights, None
        if rights:
            self._of_subject[rights.subject] -= 1
            if not self._of_subject[rights.subject]:
                del self._of_subject[rights.subject]

    def due(self, now: float) -> Iterator[Session]:
        """Those that are to be warned, once, or have come to their end (`ends` is past)."""
        for session in self._times.due(now):
            session.slot = self._times.put(session, session.ends) if session.ends > now else None
            yield session

    def _forget(self, session: Session) -> None:
        if session.slot is not None:
            self._times.take_out(session, session.slot)
            session.slot = None
