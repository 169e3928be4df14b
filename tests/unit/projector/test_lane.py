"""The step that a fetch moves a lane."""

import dataclasses
from uuid import UUID

from livebalance.projector.fold.lane import (
    FetchStatus,
    LaneSide,
    LaneStep,
    OwnedLane,
    changed_topic_reason,
    decode,
    halt_move,
    owned_lane,
    step,
    unreadable_reason,
)
from livebalance.projector.fold.records import fingerprint
from livebalance.readmodel.rows import LaneRow
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.wire.identity import Epoch, Lane, Offset
from livebalance.wire.kafka.codec import ConfluentCodec
from livebalance.wire.kafka.raw_record import RawRecord
from livebalance.wire.timestamp import Millis
from tests.pieces import finish
from tests.unit.projector.histories import raw_record
from tests.unit.projector.test_records import balance_record, transfer_record

CODEC = ConfluentCodec(FileRegistry())
EPOCH = Epoch("0123456789abcdef")
CAUGHT_UP = FetchStatus(True, Millis(1000))
BEHIND = FetchStatus(False, Millis(1000))


def make_lane(transfers_next: int = 5, balances_next: int = 7) -> OwnedLane:
    row = LaneRow(
        Lane(3), 2, EPOCH, Offset(transfers_next), Offset(balances_next), None, None, None, None, None, True
    )
    return owned_lane(row, "transfers", "account-balances")


def make_step(
    lane: OwnedLane,
    transfers: list[RawRecord],
    balances: list[RawRecord],
    statuses: tuple[FetchStatus, FetchStatus] = (CAUGHT_UP, CAUGHT_UP),
) -> LaneStep:
    return step(lane, finish(decode(lane, (transfers, balances), CODEC)), statuses, 2)


def test_step_moves_from_the_stored_offsets_to_after_the_last_records() -> None:
    lane_step = make_step(
        make_lane(), [transfer_record(5, 10), transfer_record(8, 20)], [balance_record(7, 15)]
    )
    move = lane_step.move
    assert (move.transfers_from, move.transfers_to) == (5, 9)
    assert (move.balances_from, move.balances_to) == (7, 8)
    assert (move.transfers_last, move.balances_last, move.last_event_at) == (8, 7, 20)
    assert move.transfers_fingerprint == fingerprint(transfer_record(8, 20))
    assert [record.at for record in lane_step.records] == [10, 15, 20]
    lane_step.advance_lane()
    assert (lane_step.lane.transfers.next, lane_step.lane.balances.next) == (9, 8)


def test_step_without_records_keeps_the_offsets() -> None:
    move = make_step(make_lane(), [], []).move
    assert (move.transfers_to, move.balances_to, move.transfers_last) == (5, 7, None)
    assert move.as_of == 1000


def test_complete_as_of_is_that_of_the_older_side() -> None:
    behind = make_step(make_lane(), [transfer_record(5, 700)], [], (BEHIND, CAUGHT_UP))
    assert behind.move.as_of == 700
    behind.advance_lane()
    assert make_step(behind.lane, [], [], (BEHIND, CAUGHT_UP)).move.as_of == 700
    assert make_step(make_lane(), [], [], (BEHIND, CAUGHT_UP)).move.as_of is None
    assert make_step(make_lane(), [], [], (CAUGHT_UP, FetchStatus(False, None))).move.as_of is None


def test_record_of_the_future_does_not_move_complete_as_of_into_the_future() -> None:
    assert make_step(make_lane(), [transfer_record(5, 9999)], [], (BEHIND, CAUGHT_UP)).move.as_of == 1000


def claimed_after(last: RawRecord) -> OwnedLane:
    lane = make_lane()
    lane.transfers = LaneSide("transfers", Offset(5), Offset(4), fingerprint(last))
    return lane


def test_last_record_before_the_claim_is_not_applied_again() -> None:
    last = transfer_record(4, 1)
    lane = claimed_after(last)
    assert lane.transfers.seek_offset == 4
    lane_step = make_step(lane, [last, transfer_record(5, 2)], [])
    assert [record.offset for record in lane_step.records] == [5]
    assert lane_step.move.halted_why is None


def test_other_record_at_the_last_offset_halts_the_lane() -> None:
    lane_step = make_step(
        claimed_after(transfer_record(4, 1)), [transfer_record(4, 2), transfer_record(5, 2)], []
    )
    assert lane_step.move.halted_why == "transfers holds another record at 4 now: the topic was recreated"
    assert (lane_step.records, lane_step.move.transfers_to) == ([], 5)


def test_earlier_record_is_neither_compared_nor_applied() -> None:
    lane_step = make_step(
        claimed_after(transfer_record(4, 1)), [transfer_record(3, 9), transfer_record(5, 2)], []
    )
    assert lane_step.move.halted_why is None
    assert [record.offset for record in lane_step.records] == [5]


def test_last_record_removed_by_compaction_does_not_halt_the_lane() -> None:
    lane_step = make_step(claimed_after(transfer_record(4, 1)), [transfer_record(6, 2)], [])
    assert (lane_step.move.halted_why, lane_step.move.transfers_to) == (None, 7)


def test_too_many_consecutive_rejects_halt_the_lane_before_the_last_of_them() -> None:
    bad = [raw_record(offset=offset, value=b"") for offset in (5, 6, 7)]
    first = make_step(make_lane(), bad[:1], [])
    first.advance_lane()
    lane_step = make_step(first.lane, bad[1:], [])
    assert lane_step.move.halted_why == "more than 2 consecutive records of transfers were rejected"
    assert (lane_step.move.transfers_to, len(lane_step.records)) == (7, 1)
    assert lane_step.move.as_of is None


def test_unreadable_record_halts_the_lane_before_it() -> None:
    records = [transfer_record(5), transfer_record(6)._replace(unreadable="damaged"), transfer_record(7)]
    lane_step = make_step(make_lane(), records, [balance_record(7, 9)])
    assert lane_step.move.halted_why == "transfers cannot be read at 6: damaged"
    assert (lane_step.move.transfers_to, lane_step.move.balances_to) == (6, 7)


def test_valid_records_of_the_other_topic_do_not_reset_the_rejects() -> None:
    lane = make_lane()
    for number in range(2):
        bad = balance_record(7 + number)._replace(value=b"")
        make_step(lane, [transfer_record(5 + number)], [bad]).advance_lane()
    assert lane.halted_why is None
    lane_step = make_step(lane, [transfer_record(7)], [balance_record(9, 1)._replace(value=b"")])
    assert lane_step.move.halted_why == "more than 2 consecutive records of account-balances were rejected"
    assert (lane_step.move.transfers_to, lane_step.move.balances_to) == (8, 9)


def test_partition_without_the_next_offset_is_unreadable() -> None:
    side = make_lane().transfers
    assert unreadable_reason(side, 0, 5) is None
    assert unreadable_reason(side, 5, 9) is None
    assert "recreated" in (unreadable_reason(side, 0, 4) or "")
    assert "history was lost" in (unreadable_reason(side, 6, 9) or "")


def test_claimed_lane_has_all_that_its_row_says() -> None:
    ids = UUID(int=1), UUID(int=2)
    row = LaneRow(
        Lane(3), 2, EPOCH, Offset(5), Offset(7), Offset(4), b"t", Offset(6), b"b", "halted", False, *ids
    )
    assert owned_lane(row, "transfers", "account-balances") == OwnedLane(
        Lane(3),
        2,
        EPOCH,
        LaneSide("transfers", Offset(5), Offset(4), b"t", ids[0]),
        LaneSide("account-balances", Offset(7), Offset(6), b"b", ids[1]),
        "halted",
        from_start=False,
    )


def test_last_record_that_was_deleted_is_forgotten() -> None:
    for first, last in ((4, 4), (5, None)):
        side = LaneSide("transfers", Offset(5), Offset(4), b"t")
        side.forget_deleted(first)
        assert (side.last, side.fingerprint) == (last, None if last is None else b"t")
    side = LaneSide("transfers", Offset(5), None, None)
    side.forget_deleted(9)
    assert side.last is None


def test_move_of_a_step_is_fenced_by_the_lane_that_was_claimed() -> None:
    record = balance_record(7, 15)
    move = make_step(make_lane(), [], [record]).move
    assert (move.lane, move.generation, move.epoch) == (3, 2, EPOCH)
    assert (move.balances_last, move.balances_fingerprint) == (7, fingerprint(record))


def test_other_balance_at_the_last_offset_halts_the_lane() -> None:
    lane = make_lane()
    lane.balances = LaneSide("account-balances", Offset(7), Offset(6), fingerprint(balance_record(6, 1)))
    move = make_step(lane, [], [balance_record(6, 2)]).move
    assert move.halted_why == "account-balances holds another record at 6 now: the topic was recreated"


def test_amount_of_a_larger_scale_than_allowed_is_rejected() -> None:
    decoded = finish(decode(make_lane(), ([transfer_record(5)], []), CODEC, max_scale=1))
    lane_step = step(make_lane(), decoded, (CAUGHT_UP, CAUGHT_UP), 2)
    assert lane_step.rejects == {"transfers": 1}


def test_halt_move_keeps_the_offsets() -> None:
    move = halt_move(make_lane(), "because")
    assert (move.transfers_from, move.balances_from) == (move.transfers_to, move.balances_to) == (5, 7)
    assert (move.halted_why, move.as_of) == ("because", None)


def test_topic_with_the_same_id_and_partitions_has_not_changed() -> None:
    side = dataclasses.replace(make_lane().transfers, topic_id=UUID(int=1))
    assert changed_topic_reason(side, UUID(int=1), 3, 3) is None


def test_topic_with_an_unknown_id_has_not_changed() -> None:
    side = make_lane().transfers
    assert changed_topic_reason(side, UUID(int=1), 3, 3) is None
    assert changed_topic_reason(dataclasses.replace(side, topic_id=UUID(int=1)), None, 3, 3) is None


def test_topic_with_another_id_was_recreated() -> None:
    side = dataclasses.replace(make_lane().transfers, topic_id=UUID(int=1))
    reason = "transfers has another topic id now: the topic was recreated"
    assert changed_topic_reason(side, UUID(int=2), 3, 3) == reason


def test_topic_with_other_partitions_has_changed() -> None:
    reason = "the topic transfers has 4 partitions, the projection was built from 2"
    assert changed_topic_reason(make_lane().transfers, None, 4, 2) == reason
