"""Authenticated sessions: how many each user has, and when the rights of each session end."""

from collections import Counter
from math import inf

from livebalance.gateway.auth.rights import Rights
from livebalance.gateway.live.deadlines import Deadline, Deadlines
from livebalance.gateway.live.session import Session
from livebalance.wire.timestamp import Millis

EXPIRY_WARNING = 60.0  # seconds before the rights end


class Users:
    """Counts sessions by user, and sets the deadlines of their rights: the warning, and the end."""

    def __init__(self, max_connections_per_user: int, deadlines: Deadlines[Session]) -> None:
        self._max_connections_per_user = max_connections_per_user
        self._connections: Counter[str] = Counter()  # by subject
        self._deadlines = deadlines

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
        left = (rights.ends_at(wall) - wall) / 1000
        # A client answers each warning with a token, perhaps with the same: it is not warned again at once.
        warned_before = EXPIRY_WARNING if session.rights is None else min(EXPIRY_WARNING, left / 2)
        session.rights = rights
        self._set_deadlines(session, now + left - warned_before, now + left)

    def remove(self, session: Session) -> None:
        """Takes the rights from a session, if it has any."""
        self._set_deadlines(session, inf, inf)
        rights, session.rights = session.rights, None
        if rights:
            self._connections[rights.subject] -= 1
            if not self._connections[rights.subject]:
                del self._connections[rights.subject]

    def _set_deadlines(self, session: Session, warn_at: float, ends_at: float) -> None:
        self._deadlines.set(session, Deadline.WARN, warn_at)
        self._deadlines.set(session, Deadline.EXPIRE, ends_at)
