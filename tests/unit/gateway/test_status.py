from livebalance.gateway.live.status import PipelineStatus
from livebalance.readmodel.gateway_reads import AuditFinding, LaneProgress
from livebalance.wire.frame import Status
from livebalance.wire.identity import Epoch, Lane
from livebalance.wire.timestamp import Millis, format_rfc3339

WALL = Millis(1_795_000_000_000)


def finding(*as_of: int | None, partitions: int | None = None, halted: str | None = None) -> AuditFinding:
    """A finding with a lane for each `as_of`; `halted` is the reason of lane 0."""
    lanes = {
        Lane(number): LaneProgress(None if time is None else Millis(time), halted if number == 0 else None)
        for number, time in enumerate(as_of)
    }
    return AuditFinding(Epoch("00000000000000a1"), partitions or len(as_of), lanes, {})


def connected_to_redis() -> PipelineStatus:
    pipeline = PipelineStatus()
    pipeline.on_redis(True)
    return pipeline


def next_state(pipeline: PipelineStatus, now: float) -> tuple[str, str | None] | None:
    status = pipeline.next_status(now, WALL)
    return (status.state, status.reason or None) if status else None


def test_status_while_every_lane_advances_is_sent_once() -> None:
    pipeline = connected_to_redis()
    pipeline.on_audit(finding(WALL, WALL), 0.0, WALL)
    assert pipeline.next_status(0.0, WALL) == Status("live", format_rfc3339(WALL))
    assert pipeline.next_status(14.0, WALL) is None
    pipeline.on_audit(finding(WALL + 1, WALL + 1), 14.0, WALL)
    assert pipeline.next_status(28.0, WALL) is None


def test_status_while_one_lane_does_not_advance_is_stalled() -> None:
    pipeline = connected_to_redis()
    pipeline.on_audit(finding(WALL, WALL), 0.0, WALL)
    pipeline.on_audit(finding(WALL + 1, WALL), 10.0, WALL)
    assert next_state(pipeline, 14.0) == ("live", None)
    assert next_state(pipeline, 15.0) == ("stalled", "nothing arrives")
    pipeline.on_audit(finding(WALL + 1, WALL + 1), 16.0, WALL)
    assert next_state(pipeline, 16.0) == ("live", None)


def test_status_with_rare_audits_waits_longer_until_it_is_stalled() -> None:
    pipeline = PipelineStatus(audit_delay=100.0)
    pipeline.on_redis(True)
    pipeline.on_audit(finding(WALL), 0.0, WALL)
    assert next_state(pipeline, 114.9) == ("live", None)
    assert next_state(pipeline, 115.0) == ("stalled", "nothing arrives")


def test_status_with_rare_audits_of_a_lane_that_is_seen_first_is_stalled_at_once() -> None:
    pipeline = PipelineStatus(audit_delay=100.0)
    pipeline.on_redis(True)
    pipeline.on_audit(finding(WALL - 15_000), 0.0, WALL)
    assert next_state(pipeline, 0.0) == ("stalled", "nothing arrives")


def test_status_of_a_lane_that_is_seen_first_depends_on_its_age() -> None:
    for age, state in ((14_999, ("live", None)), (15_000, ("stalled", "nothing arrives"))):
        pipeline = connected_to_redis()
        pipeline.on_audit(finding(WALL - age), 0.0, WALL)
        assert next_state(pipeline, 0.0) == state


def test_status_with_clocks_that_differ_is_live_once_the_lane_advances() -> None:
    pipeline, hour = connected_to_redis(), 3_600_000
    pipeline.on_audit(finding(WALL - hour), 0.0, WALL)
    assert next_state(pipeline, 0.0) == ("stalled", "nothing arrives")
    pipeline.on_audit(finding(WALL - hour + 1), 5.0, WALL)
    assert next_state(pipeline, 5.0) == ("live", None)


def test_status_with_a_lane_that_is_missing_or_was_never_complete_is_stalled() -> None:
    for incomplete in (finding(WALL, None), finding(WALL, partitions=2)):
        pipeline = connected_to_redis()
        pipeline.on_audit(incomplete, 0.0, WALL)
        assert next_state(pipeline, 0.0) == ("stalled", "nothing arrives")


def test_status_while_stalled_names_the_reason() -> None:
    pipeline = PipelineStatus()
    since = format_rfc3339(WALL)
    assert pipeline.next_status(0.0, WALL) == Status("stalled", since, "the database is unavailable")
    pipeline.on_audit(finding(WALL), 0.0, WALL)
    assert next_state(pipeline, 0.0) == ("stalled", "live updates are unavailable")
    pipeline.on_redis(True)
    assert next_state(pipeline, 0.0) == ("live", None)
    pipeline.on_audit_failed()
    assert next_state(pipeline, 1.0) == ("stalled", "the database is unavailable")
    pipeline.on_audit(finding(WALL, halted="history lost"), 2.0, WALL)
    assert next_state(pipeline, 2.0) == ("stalled", "history lost")


def test_status_after_a_lane_reports_that_it_is_behind_is_catching_up_for_five_seconds() -> None:
    pipeline = connected_to_redis()
    pipeline.on_audit(finding(WALL), 0.0, WALL)
    pipeline.on_progress(Lane(0), False, 0.5)
    pipeline.on_progress(Lane(0), True, 1.0)
    assert next_state(pipeline, 1.0) == ("catching_up", None)
    pipeline.on_progress(Lane(0), False, 2.0)
    assert next_state(pipeline, 2.0) == ("live", None)
    pipeline.on_progress(Lane(0), True, 3.0)
    assert next_state(pipeline, 3.0) == ("catching_up", None)
    assert next_state(pipeline, 7.9) is None
    assert next_state(pipeline, 8.0) == ("live", None)


def test_as_of_with_every_lane_present_is_that_of_the_oldest() -> None:
    pipeline = connected_to_redis()
    assert (pipeline.state, pipeline.as_of) == (None, None)
    for incomplete in (finding(WALL, None), finding(WALL, partitions=2)):
        pipeline.on_audit(incomplete, 0.0, WALL)
        assert pipeline.as_of is None
    pipeline.on_audit(finding(WALL + 2, WALL + 1), 1.0, WALL)
    assert next_state(pipeline, 1.0) == ("live", None)
    assert (pipeline.state, pipeline.as_of) == ("live", WALL + 1)
