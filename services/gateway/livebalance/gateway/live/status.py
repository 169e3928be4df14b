"""How the whole pipeline is, in one word for every client: live, catching up, or stalled and why."""

from typing import Literal, NamedTuple

from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.wire.frame import Status
from livebalance.wire.identity import Lane
from livebalance.wire.timestamp import Millis, format_rfc3339

STALLED_AFTER = 15.0  # seconds in which a lane is not complete as of any later time
BEHIND_FOR = 5.0  # seconds a lane's word that it is behind holds

Word = Literal["live", "catching_up", "stalled"]


class _Lane(NamedTuple):
    as_of: Millis | None
    moved: float  # when `as_of` was last seen to grow
    halted_why: str | None


class PipelineStatus:
    """Times are seconds on a clock that only grows: no clock of another machine is compared with ours."""

    def __init__(self) -> None:
        self._lanes: dict[Lane, _Lane] = {}
        self._partitions = 0
        self._behind: dict[Lane, float] = {}
        self._postgres = self._redis = False
        self._said: tuple[Word, str | None] | None = None

    def redis(self, here: bool) -> None:
        self._redis = here

    def postgres_away(self) -> None:
        self._postgres = False

    def behind(self, lane: Lane, behind: bool, now: float) -> None:
        if behind:
            self._behind[lane] = now
        else:
            self._behind.pop(lane, None)

    def audited(self, finding: AuditFinding, now: float, wall: Millis) -> None:
        self._postgres, self._partitions = True, finding.partitions
        for lane, progress in finding.lanes.items():
            before = self._lanes.get(lane)
            moved = before.moved if before and before.as_of == progress.as_of else now
            if before is None and progress.as_of is not None:
                # Seen for the first time: how old it is is all there is to tell whether it moves.
                moved = now if wall - progress.as_of < STALLED_AFTER * 1000 else now - STALLED_AFTER
            self._lanes[lane] = _Lane(progress.as_of, moved, progress.halted_why)

    @property
    def word(self) -> Word | None:
        """What clients were told last."""
        return self._said[0] if self._said else None

    @property
    def as_of(self) -> Millis | None:
        """All lanes were complete then; None: not all have been, as far as is known."""
        times = [lane.as_of for lane in self._lanes.values() if lane.as_of is not None]
        return min(times) if times and len(times) == self._partitions else None

    def changed(self, now: float, wall: Millis) -> Status | None:
        """The frame for everyone, if the word or its reason is another than before."""
        said = self._word(now)
        if said == self._said:
            return None
        self._said = said
        word, why = said
        return Status(word, format_rfc3339(wall)) if why is None else Status(word, format_rfc3339(wall), why)

    def _word(self, now: float) -> tuple[Word, str | None]:
        if why := self._stalled(now):
            return "stalled", why
        if any(since > now - BEHIND_FOR for since in self._behind.values()):
            return "catching_up", None
        return "live", None

    def _stalled(self, now: float) -> str | None:
        if not self._postgres:
            return "the database is away"
        if not self._redis:
            return "live updates are away"
        if halted := next((lane.halted_why for lane in self._lanes.values() if lane.halted_why), None):
            return halted
        if len(self._lanes) < self._partitions or any(
            lane.as_of is None or lane.moved <= now - STALLED_AFTER for lane in self._lanes.values()
        ):
            return "nothing arrives"
        return None
