"""A lane is complete as of a time that both its topics have reached, and never of a time to come."""

from livebalance.projector.fold.lane import FetchStatus
from livebalance.wire.timestamp import Millis
from tests.unit.projector.test_lane import BEHIND, make_lane, make_step
from tests.unit.projector.test_records import balance_record, transfer_record


def test_lane_with_records_of_the_future_on_both_sides_is_complete_as_of_the_brokers_answer() -> None:
    lane_step = make_step(
        make_lane(), [transfer_record(5, 9000)], [balance_record(7, 9999)], (BEHIND, BEHIND)
    )
    assert lane_step.move.as_of == BEHIND.answered_at == 1000


def test_lane_behind_on_both_sides_is_complete_as_of_the_older_of_the_last_records() -> None:
    records = [transfer_record(5, 700)], [balance_record(7, 600)]
    assert make_step(make_lane(), *records, (BEHIND, BEHIND)).move.as_of == 600


def test_lane_is_complete_as_of_the_older_of_both_answers() -> None:
    statuses = FetchStatus(True, Millis(900)), FetchStatus(True, Millis(800))
    assert make_step(make_lane(), [], [], statuses).move.as_of == 800
