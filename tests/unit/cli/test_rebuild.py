"""The parts of a rebuild that need no server: differences, progress, and the report."""

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.cli.rebuild.command import Display
from livebalance.cli.rebuild.differences import Difference, DifferenceCounts, account_differences
from livebalance.cli.rebuild.progress import ReplayedLane, ReplayProgress, ReplayRate
from livebalance.cli.rebuild.rebuild import mismatch
from livebalance.cli.rebuild.report import RebuildReport
from livebalance.readmodel.rebuild.rows import LaneEnd, LaneSums, QuarantineDifferences
from livebalance.wire.identity import AccountId, Epoch, Lane, Offset

ALICE = AccountId("alice")


def lane(transfers: int, balances: int) -> LaneEnd:
    return LaneEnd(Offset(transfers), Offset(balances))


@pytest.mark.parametrize(
    ("live", "shadow", "named"),
    [
        ('{"balance": 1.00}', '{"balance": 1.000}', []),
        ('{"balance": 1.01}', '{"balance": 1.00}', [("balance", "1.01", "1.00")]),
        # Two floats could not tell these amounts apart.
        (
            '{"balance": 90071992547409.9301}',
            '{"balance": 90071992547409.9302}',
            [("balance", "90071992547409.9301", "90071992547409.9302")],
        ),
        ('{"disputed": true, "drift": null}', '{"disputed": false, "drift": 0}', None),
        ('{"balance": 1}', None, [("account", "present", "missing")]),
        (None, '{"balance": 1}', [("account", "missing", "present")]),
        (None, None, []),
    ],
)
def test_account_differences_name_each_field(
    live: str | None, shadow: str | None, named: list[tuple[str, str, str]] | None
) -> None:
    if named is None:
        named = [("disputed", "true", "false"), ("drift", None, "0")]  # type: ignore[list-item]
    assert account_differences(ALICE, live, shadow) == [Difference(ALICE, *each) for each in named]


OLD, NEW = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("live", "shadow", "reason"),
    [
        (lane(5, 5), lane(0, 0), None),
        (lane(5, 5)._replace(transfers_topic_id=OLD), lane(0, 0), None),
        (lane(5, 5)._replace(balances_topic_id=OLD), lane(0, 0)._replace(balances_topic_id=OLD), None),
        (lane(5, 5), lane(0, 6), "is ahead of the projection: give --restart"),
        (lane(5, 5), lane(6, 0), "is ahead of the projection: give --restart"),
        (
            lane(5, 5)._replace(transfers_topic_id=OLD),
            lane(0, 0)._replace(transfers_topic_id=NEW),
            "has another topic id: the topic was recreated",
        ),
        (
            lane(5, 5)._replace(balances_topic_id=OLD),
            lane(0, 0)._replace(balances_topic_id=NEW),
            "has another topic id: the topic was recreated",
        ),
        (
            lane(5, 5)._replace(from_start=False),
            lane(0, 0),
            "starts elsewhere: set LIVEBALANCE_START_FROM as for the projectors",
        ),
    ],
)
def test_mismatch_names_why_a_lane_cannot_be_compared(
    live: LaneEnd, shadow: LaneEnd, reason: str | None
) -> None:
    assert mismatch(live, shadow) == reason


FIELDS = st.fixed_dictionaries(
    {"balance": st.decimals(allow_nan=False, allow_infinity=False), "listed": st.integers()}
)


def as_json(fields: dict[str, Any]) -> str:
    return f'{{"balance": {fields["balance"]:f}, "listed": {fields["listed"]}}}'


@given(FIELDS, FIELDS)
def test_account_differences_are_those_of_the_values(live: dict[str, Any], shadow: dict[str, Any]) -> None:
    named = {difference.field for difference in account_differences(ALICE, as_json(live), as_json(shadow))}
    assert named == {name for name in live if live[name] != shadow[name]}


def test_differences_beyond_the_limit_are_only_counted() -> None:
    differences = DifferenceCounts(limit=3)
    for account in ("a", "b", "c"):
        differences.add(account_differences(AccountId(account), '{"x": 1, "y": 1}', '{"x": 2, "y": 2}'))
    differences.add([])
    assert (differences.accounts, differences.fields, len(differences.first)) == (3, {"x": 3, "y": 3}, 3)


def test_progress_estimates_the_time_left() -> None:
    rate = ReplayRate({Lane(0): lane(100, 200), Lane(1): lane(50, 50)})
    first = rate.sample({}, 10.0)
    assert (first.applied, first.end, first.rate, first.seconds_left) == (0, 400, None, None)
    second = rate.sample({Lane(0): lane(60, 40), Lane(1): lane(50, 50)}, 12.0)
    assert (second.applied, second.rate, second.seconds_left) == (200, 100.0, 2.0)
    assert str(second) == "200 of 400 records (50 %), 100/s, 2 s left; lanes 0: 100/300"
    assert second.as_object()["lanes"] == {
        "0": {"applied": 100, "end": 300},
        "1": {"applied": 100, "end": 100},
    }


def test_progress_without_records_is_complete() -> None:
    progress = ReplayRate({Lane(0): lane(0, 0)}).sample({Lane(0): lane(0, 0)}, 1.0)
    assert str(progress) == "0 of 0 records (100 %), 0/s, unknown time left"


def report(
    differences: DifferenceCounts, quarantine: QuarantineDifferences, epoch: str | None
) -> RebuildReport:
    sums = {Lane(0): LaneSums(2, "3.50", 4, "3.50", 0)}
    fewer = {Lane(0): LaneSums(1, "1.50", 2, "1.50", 0)} if differences.accounts else sums
    ends = {Lane(0): lane(4, 6)}
    return RebuildReport(ends, sums, fewer, differences, quarantine, Epoch(epoch) if epoch else None)


def test_report_of_equal_projections_has_a_line_per_lane() -> None:
    equal = report(DifferenceCounts(10), QuarantineDifferences(0, 0), None)
    assert equal.is_equal
    assert str(equal).splitlines() == [
        "lane 0, transfers before 4, balances before 6: 2 accounts, balances 3.50, 4 transfers, posted 3.50,"
        " 0 disputed",
        "The projection equals the replay.",
    ]


def test_report_of_a_swap_names_the_epoch_and_the_differences() -> None:
    differences = DifferenceCounts(1)
    differences.add(account_differences(ALICE, '{"balance": 2, "drift": 1}', '{"balance": 1, "drift": 0}'))
    swapped = report(differences, QuarantineDifferences(1, 2), "00000000000000a1")
    lines = str(swapped).splitlines()
    assert lines[1].startswith("lane 0, replayed: 1 accounts")
    assert lines[2:4] == ["alice: balance is 2, replayed 1", "and 1 more differences"]
    assert lines[-1] == (
        "1 accounts differ (balance 1, drift 1). They were replaced. The epoch is 00000000000000a1 now: every"
        " client will get a snapshot."
    )
    as_object = json.loads(json.dumps(swapped.as_object()))
    assert (as_object["equal"], as_object["swapped"]) == (False, True)
    assert as_object["lanes"]["0"]["shadow"]["balance"] == "1.50"
    assert as_object["quarantine"] == {"missing": 1, "applied": 2}


def test_quarantine_alone_makes_a_difference() -> None:
    different = report(DifferenceCounts(1), QuarantineDifferences(0, 1), None)
    assert not different.is_equal
    assert str(different).splitlines()[-1] == "0 accounts differ. Nothing was replaced."


def test_report_escapes_control_characters_of_a_client_id() -> None:
    differences = DifferenceCounts(1)
    differences.add(account_differences(ALICE, r'{"client_id": "a\u001b[2J"}', r'{"client_id": "\n"}'))
    lines = str(report(differences, QuarantineDifferences(0, 0), None)).splitlines()
    assert lines[2] == r"alice: client_id is a\u001b[2J, replayed \u000a"


def test_end_of_a_replay_is_drawn_before_the_next_phase_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with Display(as_json=False) as display:
        display.show_phase("replaying")
        display.show(ReplayProgress({Lane(0): ReplayedLane(5, 5)}, 1.0))
        display.show_phase("comparing")
    assert "5 of 5 records (100 %)" in capsys.readouterr().err
