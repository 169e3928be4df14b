"""The status of the pipeline, as every client is sent it: live, catching up, or stalled with a reason."""

from typing import Literal, NamedTuple

from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.wire.frame import Status
from livebalance.wire.identity import Lane
from livebalance.wire.timestamp import Millis, format_rfc3339

STALLED_AFTER = 15.0  # seconds in which the `as_of` of a lane does not advance, as far as audits see it
BEHIND_FOR = 5.0  # seconds for which a lane's message that it is behind counts

PipelineState = Literal["live", "catching_up", "stalled"]


class _Lane(NamedTuple):
    as_of: Millis | None
    advanced_at: float  # when `as_of` was last seen to advance
    halted_why: str | None


class PipelineStatus:
    """Derives the status from audits, Redis, and the progress messages of lanes.

    Times are monotonic seconds of this process: its clock is not compared with the clock of another machine.
    """

    def __init__(self, audit_delay: float = 0.0) -> None:
        """`audit_delay`: seconds by which the interval of the audit exceeds the usual interval."""
        self._audit_delay = audit_delay
        self._lanes: dict[Lane, _Lane] = {}
        self._partitions = 0
        self._behind: dict[Lane, float] = {}
        self._postgres_available = self._redis_connected = False
        self._current: tuple[PipelineState, str | None] | None = None

    def on_redis(self, connected: bool) -> None:
        """Called when the connection to Redis is established or lost."""
        self._redis_connected = connected

    def on_audit_failed(self) -> None:
        """Called when Postgres did not answer an audit."""
        self._postgres_available = False

    def on_progress(self, lane: Lane, behind: bool, now: float) -> None:
        """Called when a lane has published its progress."""
        if behind:
            self._behind[lane] = now
        else:
            self._behind.pop(lane, None)

    def on_audit(self, finding: AuditFinding, now: float, wall: Millis) -> None:
        """Called with the result of an audit, which says how far each lane is complete."""
        self._postgres_available, self._partitions = True, finding.partitions
        for lane, progress in finding.lanes.items():
            previous = self._lanes.get(lane)
            advanced_at = previous.advanced_at if previous and previous.as_of == progress.as_of else now
            if previous is None and progress.as_of is not None:
                # Seen for the first time: only its age says whether the lane advances.
                is_recent = wall - progress.as_of < STALLED_AFTER * 1000
                advanced_at = now if is_recent else now - self._stalled_after
            self._lanes[lane] = _Lane(progress.as_of, advanced_at, progress.halted_why)

    @property
    def _stalled_after(self) -> float:
        return STALLED_AFTER + self._audit_delay

    @property
    def state(self) -> PipelineState | None:
        """The state that clients were sent last."""
        return self._current[0] if self._current else None

    @property
    def as_of(self) -> Millis | None:
        """The time as of which all lanes are complete; None unless every lane is known."""
        times = [lane.as_of for lane in self._lanes.values() if lane.as_of is not None]
        return min(times) if times and len(times) == self._partitions else None

    def next_status(self, now: float, wall: Millis) -> Status | None:
        """Returns the frame for all clients if the state or its reason has changed since the last call."""
        current = self._evaluate(now)
        if current == self._current:
            return None
        self._current = current
        state, reason = current
        since = format_rfc3339(wall)
        return Status(state, since) if reason is None else Status(state, since, reason)

    def _evaluate(self, now: float) -> tuple[PipelineState, str | None]:
        if reason := self._stall_reason(now):
            return "stalled", reason
        if any(since > now - BEHIND_FOR for since in self._behind.values()):
            return "catching_up", None
        return "live", None

    def _stall_reason(self, now: float) -> str | None:
        if not self._postgres_available:
            return "the database is unavailable"
        if not self._redis_connected:
            return "live updates are unavailable"
        if halted := next((lane.halted_why for lane in self._lanes.values() if lane.halted_why), None):
            return halted
        if len(self._lanes) < self._partitions or any(
            lane.as_of is None or lane.advanced_at <= now - self._stalled_after
            for lane in self._lanes.values()
        ):
            return "nothing arrives"
        return None
