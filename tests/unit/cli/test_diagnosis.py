"""What doctor judges of what it has read."""

from uuid import UUID

import pytest

from livebalance.cli.inspection import diagnosis
from livebalance.cli.inspection.diagnosis import Diagnosis, PartitionOffsets, TopicFacts
from livebalance.readmodel.operator.status_rows import LaneStatus, ProjectionStatus, ServerStatus
from livebalance.wire.identity import Epoch, Lane, Offset
from livebalance.wire.timestamp import Millis

NOW = Millis(1_795_000_000_000)
ID, OTHER = UUID(int=1), UUID(int=2)
LANE = LaneStatus(Lane(0), "projector-1", 1, Offset(5), Offset(5), NOW, None, None, 0, 0, 0, ID, ID)
PROJECTION = ProjectionStatus(
    Epoch("00000000000000a1"), known=True, partitions=1, quarantined=0, lanes=[LANE]
)
SERVER = ServerStatus(
    "18.6", "operator", NOW, standby=False, migration="0016", missing_rights=[], services=[]
)


@pytest.mark.parametrize(
    ("offset", "uncertainty", "state"),
    [
        (0.0, 0.0, "ok"),
        (0.99, 0.0, "ok"),
        (-1.0, 0.0, "warning"),
        (9.9, 0.0, "warning"),
        (-10.0, 0.0, "error"),
        (10.0, 9.5, "ok"),  # the answer took so long that it proves nothing
    ],
)
def test_clock_is_judged_by_what_the_answer_proves(offset: float, uncertainty: float, state: str) -> None:
    assert diagnosis.judge_clock("Redis", offset, uncertainty).state == state


@pytest.mark.parametrize(
    ("migration", "state"),
    [("0016", "ok"), ("0015", "error"), (None, "error"), ("0017", "warning")],
)
def test_schema_is_compared_with_the_newest_migration(migration: str | None, state: str) -> None:
    findings = diagnosis.judge_server(SERVER._replace(migration=migration), "0016")
    assert {finding.check: finding.state for finding in findings}["schema"] == state


def test_missing_right_to_read_the_migration_is_no_missing_schema() -> None:
    server = SERVER._replace(migration=None, missing_rights=["select alembic_version"])
    findings = list(diagnosis.judge_server(server, "0016"))
    assert [finding.check for finding in findings if finding.state == "error"] == ["rights"]


def judge(status: ProjectionStatus | None, seconds_later: int = 0) -> list[Diagnosis]:
    findings = diagnosis.judge_projection(status, NOW + 1000 * seconds_later)
    return [finding for finding in findings if finding.state != "ok"]


def test_sound_projection_has_no_finding() -> None:
    assert judge(PROJECTION, 60) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"halted_why": "the topic was recreated"}, "halted by the projector: the topic was recreated"),
        ({"recorder_halted_why": "history is gone"}, "halted by the recorder: history is gone"),
        ({"as_of": NOW - 61_000}, "complete as of 61 s ago; claimed by projector-1"),
        ({"as_of": None, "owner": None}, "never complete yet; claimed by no projector"),
        ({"disputed": 2}, "2 accounts are disputed"),
        ({"drifting": 1}, "1 accounts have a drift"),
    ],
)
def test_lane_that_is_not_sound_has_a_finding(change: dict[str, object], text: str) -> None:
    lane = LANE._replace(**change)  # type: ignore[arg-type]
    (finding,) = judge(PROJECTION._replace(lanes=[lane]))
    assert finding.text == text
    assert finding.hint


def test_projection_of_another_server_or_of_none_has_a_finding() -> None:
    (unknown,) = judge(PROJECTION._replace(known=False))
    assert unknown.state == "error"
    (none,) = judge(None)
    assert none.state == "warning"


def topics(transfers: TopicFacts, balances: TopicFacts, status: ProjectionStatus | None) -> list[str]:
    findings = diagnosis.judge_topics({"t": transfers, "b": balances}, "t", "b", status)
    return [finding.check for finding in findings if finding.state == "error"]


def test_topics_are_compared_with_each_other_and_with_the_projection() -> None:
    assert topics(TopicFacts(ID, 1), TopicFacts(ID, 1), PROJECTION) == []
    assert topics(TopicFacts(ID, 1), TopicFacts(ID, 2), PROJECTION) == ["partitions"]
    assert topics(TopicFacts(ID, 2), TopicFacts(ID, 2), PROJECTION) == ["partitions"]
    assert topics(TopicFacts(OTHER, 1), TopicFacts(ID, 1), PROJECTION) == ["t"]
    assert topics(TopicFacts(None, 1), TopicFacts(None, 1), PROJECTION) == [], "a broker without topic ids"
    assert topics(TopicFacts(OTHER, 7), TopicFacts(OTHER, 7), None) == []


@pytest.mark.parametrize(("offset", "errors"), [(2, 1), (3, 0), (9, 0), (10, 1)])
def test_next_offset_must_be_within_what_the_topic_holds(offset: int, errors: int) -> None:
    findings = list(diagnosis.judge_offsets("t", {0: PartitionOffsets(3, 9)}, [(0, offset), (5, 1)]))
    assert len(findings) == errors
