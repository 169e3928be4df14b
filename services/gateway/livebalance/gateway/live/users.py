"""Authenticated sessions: how many each user has, and when the rights of each session end."""

from collections import Counter
from collections.abc import Iterator

from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.live.collections import TimerWheel
from livebalance.gateway.live.session import Session
from livebalance.wire.timestamp import Millis

EXPIRY_WARNING = 60.0  # seconds before the rights end


class Users:
    """Counts sessions by user, and times the warning and then the end of each session's rights."""

    def __init__(self, max_connections_per_user: int) -> None:
        self._max_connections_per_user = max_connections_per_user
        self._connections: Counter[str] = Counter()  # by subject
        self._timers: TimerWheel[Session] = TimerWheel()

    def add(self, session: Session, rights: Rights, now: float, wall: Millis) -> bool:
        """Gives the session its rights. Returns False if their user has too many connections."""
        if self._connections[rights.subject] >= self._max_connections_per_user:
            return False
        self._connections[rights.subject] += 1
        self.renew(session, rights, now, wall)
        return True

    def renew(self, session: Session, rights: Rights, now: float, wall: Millis) -> None:
        """Replaces the rights of a session by rights of the same user.

        The wall clock, which may jump, is read only here. Later the monotonic clock decides.
        """
        self._cancel_timer(session)
        session.rights = rights
        session.ends_at = now + (rights.ends_at(wall) - wall) / 1000
        session.expiry_slot = self._timers.add(session, session.ends_at - EXPIRY_WARNING)

    def remove(self, session: Session) -> None:
        """Takes the rights from a session, if it has any."""
        self._cancel_timer(session)
        rights, session.rights = session.rights, None
        if rights:
            self._connections[rights.subject] -= 1
            if not self._connections[rights.subject]:
                del self._connections[rights.subject]

    def pop_due(self, now: float) -> Iterator[Session]:
        """Yields each session twice: to be warned, and when `ends_at` has passed."""
        for session in self._timers.pop_due(now):
            session.expiry_slot = (
                self._timers.add(session, session.ends_at) if session.ends_at > now else None
            )
            yield session

    def _cancel_timer(self, session: Session) -> None:
        if session.expiry_slot is not None:
            self._timers.discard(session, session.expiry_slot)
            session.expiry_slot = None
