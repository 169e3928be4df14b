"""Records of the lifecycle topic: what they mean beside the two other topics, and how they move a lane."""

from uuid import UUID

from livebalance.projector.fold.lane import LaneStep, OwnedLane, decode, lifecycle_step, owned_lane, step
from livebalance.projector.fold.records import (
    OTHER_TOPIC,
    SourceIds,
    decode_lifecycle_records,
    without_other_bounds,
)
from livebalance.readmodel.rows import LaneRow
from livebalance.wire.identity import AccountId, Lane, Offset
from livebalance.wire.kafka.lifecycle import (
    ERASURE,
    Bound,
    Erased,
    Opened,
    encode_erasure_header,
    encode_lifecycle,
)
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.pieces import finish
from tests.unit.projector.histories import incoming, raw_record
from tests.unit.projector.test_lane import CAUGHT_UP, CODEC, EPOCH
from tests.unit.projector.test_records import transfer_record

A = AccountId("a")
TRANSFERS, BALANCES, OTHER = (UUID(int=number) for number in (1, 2, 3))
IDS = SourceIds(TRANSFERS, BALANCES)
OPENED = Opened(A, Money(100, 2))
ERASED = Erased(A, Bound(TRANSFERS, Offset(7)), Bound(BALANCES, Offset(9)))


def lifecycle_record(content: Opened | Erased, offset: int = 4, at: int = 10) -> RawRecord:
    return raw_record("account-lifecycle", 3, offset, at, b"a", encode_lifecycle(content))


def damaged_record(offset: int) -> RawRecord:
    return raw_record("account-lifecycle", 3, offset, 10, b"a", b"{")


def make_lane() -> OwnedLane:
    row = LaneRow(
        Lane(3), 2, EPOCH, Offset(5), Offset(7), None, None, None, None, None, True, TRANSFERS, BALANCES
    )
    return owned_lane(row._replace(lifecycle_next=Offset(4)), "transfers", "account-balances", "lifecycle")


def make_step(lane: OwnedLane, *records: RawRecord) -> LaneStep:
    return lifecycle_step(lane, records, 2, max_scale=2)


def test_lifecycle_records_are_decoded_with_their_place() -> None:
    record = lifecycle_record(OPENED)
    [decoded] = decode_lifecycle_records([record], IDS)
    assert decoded == (OPENED, Lane(3), Offset(4), Millis(10), record)


def test_erasure_with_offsets_of_another_topic_is_rejected() -> None:
    others = [
        ERASED._replace(transfers=Bound(OTHER, Offset(7))),
        ERASED._replace(balances=Bound(OTHER, Offset(9))),
    ]
    records = [lifecycle_record(content) for content in (ERASED, *others)]
    decoded = [record.content for record in decode_lifecycle_records(records, IDS)]
    assert decoded == [ERASED, Rejected(OTHER_TOPIC), Rejected(OTHER_TOPIC)]
    without_ids = decode_lifecycle_records(records, SourceIds())
    assert [record.content for record in without_ids] == [ERASED, *others]


def test_opening_of_a_larger_scale_than_allowed_is_rejected() -> None:
    [decoded] = decode_lifecycle_records([lifecycle_record(Opened(A, Money(1, 3)))], IDS, 2)
    assert decoded.content == Rejected("scale is not 0..2")


def test_null_with_a_bound_in_another_topic_has_no_bound() -> None:
    for bound, id_, kept in (
        (Bound(TRANSFERS, Offset(7)), TRANSFERS, True),
        (Bound(OTHER, Offset(7)), TRANSFERS, False),
        (Bound(OTHER, Offset(7)), None, True),
        (None, TRANSFERS, True),
    ):
        record = incoming(Erasure(A, bound), 1, 2)
        expected = record if kept else record._replace(content=Erasure(A))
        assert without_other_bounds([record], id_) == [expected]


def test_step_erases_what_is_listed_if_a_null_names_another_topic() -> None:
    header = ((ERASURE, encode_erasure_header(Bound(OTHER, Offset(7)))),)
    null = raw_record("account-balances", 3, 7, 10, b"a", None, header)
    made = step(make_lane(), finish(decode(make_lane(), ([], [null]), CODEC)), (CAUGHT_UP, CAUGHT_UP), 2)
    assert [record.content for record in made.records] == [Erasure(A)]


def test_lifecycle_records_move_no_other_side() -> None:
    lane = make_lane()
    lane.transfers.applied_at, lane.balances.applied_at = Millis(1), Millis(2)
    made = make_step(lane, lifecycle_record(OPENED), lifecycle_record(ERASED, 6))
    move = made.move
    assert [record.content for record in made.records] == [OPENED, ERASED]
    assert (move.lifecycle_next, move.halted_why, move.as_of, move.last_event_at) == (7, None, None, None)
    assert (move.transfers_from, move.transfers_to, move.balances_from, move.balances_to) == (5, 5, 7, 7)
    assert (move.lane, move.generation, move.epoch, made.applied_at) == (3, 2, EPOCH, (1, 2))
    assert lane.lifecycle is not None
    made.advance_lane()
    assert (lane.lifecycle.next, lane.transfers.next, lane.balances.next) == (7, 5, 7)
    make_step(lane).advance_lane()
    assert lane.lifecycle.next == 7


def test_erasure_of_another_topic_is_rejected_in_a_lane_that_knows_its_topics() -> None:
    for content in (
        ERASED._replace(transfers=Bound(OTHER, Offset(7))),
        ERASED._replace(balances=Bound(OTHER, Offset(9))),
        Opened(A, Money(1, 3)),
    ):
        [record] = make_step(make_lane(), lifecycle_record(content)).records
        assert isinstance(record.content, Rejected)


def test_too_many_rejected_lifecycle_records_halt_the_lane_before_the_last_of_them() -> None:
    made = make_step(make_lane(), *(damaged_record(offset) for offset in (4, 5, 6)))
    assert made.move.halted_why == "more than 2 consecutive records of account-lifecycle were rejected"
    assert (made.move.lifecycle_next, made.rejects) == (6, {"account-lifecycle": 3})


def test_unreadable_lifecycle_record_halts_the_lane_before_it() -> None:
    unreadable = lifecycle_record(OPENED, 5)._replace(unreadable="damaged")
    made = make_step(make_lane(), lifecycle_record(OPENED), unreadable)
    assert made.move.halted_why == "account-lifecycle cannot be read at 5: damaged"
    assert made.move.lifecycle_next == 5


def test_lane_without_a_lifecycle_topic_has_two_sides() -> None:
    row = LaneRow(Lane(3), 2, EPOCH, Offset(5), Offset(7), None, None, None, None, None, True)
    lane = owned_lane(row, "transfers", "account-balances")
    assert [side.topic for side in lane.sides] == ["transfers", "account-balances"]
    decoded = finish(decode(lane, ([transfer_record(5)], []), CODEC))
    step(lane, decoded, (CAUGHT_UP, CAUGHT_UP), 2).advance_lane()
    assert (lane.lifecycle, lane.transfers.next) == (None, 6)


def test_claimed_lane_reads_the_lifecycle_topic_that_its_row_names() -> None:
    row = LaneRow(Lane(3), 2, EPOCH, Offset(5), Offset(7), None, None, None, None, None, True)
    row = row._replace(lifecycle_next=Offset(8), lifecycle_topic_id=OTHER)
    lifecycle = owned_lane(row, "transfers", "account-balances", "lifecycle").sides[2]
    assert (lifecycle.topic, lifecycle.next, lifecycle.topic_id) == ("lifecycle", 8, OTHER)
    assert (lifecycle.last, lifecycle.fingerprint) == (None, None)
