"""Clients that said who they are: how many of one user, and when the rights of each end."""

from collections import Counter
from collections.abc import Iterator
from math import ceil, floor

from livebalance.gateway.rights import Rights
from livebalance.gateway.session import Session
from livebalance.wire.instant import Millis

WARNED = 60.0  # seconds before the end


class Members:
    """Each stands in the slot, a second wide, of what comes next for it: its warning, then its end.

    One that leaves is forgotten at once, however far off its end is.
    """

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._of_subject: Counter[str] = Counter()
        self._slots: dict[int, set[Session]] = {}
        self._past: int | None = None  # every slot up to this one

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
        session.ends = now + (rights.end(wall) - wall) / 1000
        self._await(session, session.ends - WARNED)

    def leave(self, session: Session) -> None:
        self._forget(session)
        rights, session.rights = session.rights, None
        if rights:
            self._of_subject[rights.subject] -= 1
            if not self._of_subject[rights.subject]:
                del self._of_subject[rights.subject]

    def due(self, now: float) -> Iterator[Session]:
        """Those that are to be warned, once, or have come to their end (`ends` is past)."""
        first = min(self._slots, default=floor(now)) if self._past is None else self._past + 1
        self._past = floor(now)
        for slot in range(first, self._past + 1):
            for session in self._slots.pop(slot, ()):
                session.slot = None
                if session.ends > now:
                    self._await(session, session.ends)
                yield session

    def _await(self, session: Session, when: float) -> None:
        slot = ceil(when) if self._past is None else max(ceil(when), self._past + 1)
        session.slot = slot
        self._slots.setdefault(slot, set()).add(session)

    def _forget(self, session: Session) -> None:
        if session.slot is not None:
            some = self._slots[session.slot]
            some.discard(session)
            if not some:
                del self._slots[session.slot]
            session.slot = None
