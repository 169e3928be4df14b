from livebalance.gateway.live.status import PipelineStatus
from livebalance.readmodel.gateway_reads import AuditFinding, LaneProgress
from livebalance.wire.frame import Status
from livebalance.wire.identity import Epoch, Lane
from livebalance.wire.timestamp import Millis, format_rfc3339

WALL = Millis(1_795_000_000_000)


def finding(*as_of: int | None, partitions: int | None = None, halted: str | None = None) -> AuditFinding:
    lanes = {
        Lane(n): LaneProgress(None if one is None else Millis(one), halted if n == 0 else None)
        for n, one in enumerate(as_of)
    }
    return AuditFinding(Epoch("00000000000000a1"), partitions or len(as_of), lanes, {})


def here() -> PipelineStatus:
    pipeline = PipelineStatus()
    pipeline.redis(True)
    return pipeline


def word(pipeline: PipelineStatus, now: float) -> tuple[str, str | None] | None:
    status = pipeline.changed(now, WALL)
    return (status.state, status.reason or None) if status else None


def test_it_is_live_while_every_lane_moves_and_says_so_once() -> None:
    pipeline = here()
    pipeline.audited(finding(WALL, WALL), 0.0, WALL)
    assert pipeline.changed(0.0, WALL) == Status("live", format_rfc3339(WALL))
    assert pipeline.changed(14.0, WALL) is None
    pipeline.audited(finding(WALL + 1, WALL + 1), 14.0, WALL)
    assert pipeline.changed(28.0, WALL) is None


def test_one_lane_that_stands_still_is_a_stall() -> None:
    pipeline = here()
    pipeline.audited(finding(WALL, WALL), 0.0, WALL)
    pipeline.audited(finding(WALL + 1, WALL), 10.0, WALL)
    assert word(pipeline, 14.0) == ("live", None)
    assert word(pipeline, 15.0) == ("stalled", "nothing arrives")
    pipeline.audited(finding(WALL + 1, WALL + 1), 16.0, WALL)
    assert word(pipeline, 16.0) == ("live", None)


def test_clocks_that_disagree_are_no_stall_once_a_lane_moves() -> None:
    pipeline, hour = here(), 3_600_000
    pipeline.audited(finding(WALL - hour), 0.0, WALL)
    assert word(pipeline, 0.0) == ("stalled", "nothing arrives")
    pipeline.audited(finding(WALL - hour + 1), 5.0, WALL)
    assert word(pipeline, 5.0) == ("live", None)


def test_what_was_never_complete_or_is_not_there_is_a_stall() -> None:
    for found in (finding(WALL, None), finding(WALL, partitions=2)):
        pipeline = here()
        pipeline.audited(found, 0.0, WALL)
        assert word(pipeline, 0.0) == ("stalled", "nothing arrives")


def test_the_reason_names_what_is_away() -> None:
    pipeline = PipelineStatus()
    assert word(pipeline, 0.0) == ("stalled", "the database is away")
    pipeline.audited(finding(WALL), 0.0, WALL)
    assert word(pipeline, 0.0) == ("stalled", "live updates are away")
    pipeline.redis(True)
    assert word(pipeline, 0.0) == ("live", None)
    pipeline.postgres_away()
    assert word(pipeline, 1.0) == ("stalled", "the database is away")
    pipeline.audited(finding(WALL, halted="history lost"), 2.0, WALL)
    assert word(pipeline, 2.0) == ("stalled", "history lost")


def test_a_lane_that_says_it_is_behind_is_believed_for_a_while() -> None:
    pipeline = here()
    pipeline.audited(finding(WALL), 0.0, WALL)
    pipeline.behind(Lane(0), True, 1.0)
    assert word(pipeline, 1.0) == ("catching_up", None)
    pipeline.behind(Lane(0), False, 2.0)
    assert word(pipeline, 2.0) == ("live", None)
    pipeline.behind(Lane(0), True, 3.0)
    assert word(pipeline, 3.0) == ("catching_up", None)
    assert word(pipeline, 8.1) == ("live", None)


def test_it_is_complete_as_of_its_oldest_lane_once_all_are_there() -> None:
    pipeline = here()
    assert (pipeline.word, pipeline.as_of) == (None, None)
    for found in (finding(WALL, None), finding(WALL, partitions=2)):
        pipeline.audited(found, 0.0, WALL)
        assert pipeline.as_of is None
    pipeline.audited(finding(WALL + 2, WALL + 1), 1.0, WALL)
    assert (word(pipeline, 1.0), pipeline.word, pipeline.as_of) == (("live", None), "live", WALL + 1)
