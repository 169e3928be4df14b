"""The step of a lane over one fetch."""

from livebalance.projector.fold.lane import (
    FetchStatus,
    LaneSide,
    LaneStep,
    OwnedLane,
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
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import Raw
from tests.unit.projector.test_records import of_balance, of_transfer

CODEC = ConfluentCodec(FileRegistry())
EPOCH = Epoch("0123456789abcdef")
DONE = FetchStatus(True, Millis(1000))
BUSY = FetchStatus(False, Millis(1000))


def lane(transfers_next: int = 5, balances_next: int = 7) -> OwnedLane:
    row = LaneRow(
        Lane(3), 2, EPOCH, Offset(transfers_next), Offset(balances_next), None, None, None, None, None, True
    )
    return owned_lane(row, "transfers", "account-balances")


def stepped(
    one: OwnedLane,
    transfers: list[Raw],
    balances: list[Raw],
    polls: tuple[FetchStatus, FetchStatus] = (DONE, DONE),
) -> LaneStep:
    return step(one, (transfers, balances), polls, CODEC, 2)


def test_a_step_goes_from_where_the_lane_stands_to_after_the_last_record() -> None:
    found = stepped(lane(), [of_transfer(5, 10), of_transfer(8, 20)], [of_balance(7, 15)])
    move = found.move
    assert (move.transfers_from, move.transfers_to) == (5, 9)
    assert (move.balances_from, move.balances_to) == (7, 8)
    assert (move.transfers_last, move.balances_last, move.last_event_at) == (8, 7, 20)
    assert move.transfers_fingerprint == fingerprint(of_transfer(8, 20))
    assert [one.at for one in found.records] == [10, 15, 20]
    found.advance_lane()
    assert (found.lane.transfers.next, found.lane.balances.next) == (9, 8)


def test_a_step_over_nothing_keeps_the_lane_where_it_is() -> None:
    move = stepped(lane(), [], []).move
    assert (move.transfers_to, move.balances_to, move.transfers_last) == (5, 7, None)
    assert move.as_of == 1000


def test_complete_as_of_is_the_older_side() -> None:
    behind = stepped(lane(), [of_transfer(5, 700)], [], (BUSY, DONE))
    assert behind.move.as_of == 700
    behind.advance_lane()
    assert stepped(behind.lane, [], [], (BUSY, DONE)).move.as_of == 700
    assert stepped(lane(), [], [], (BUSY, DONE)).move.as_of is None
    assert stepped(lane(), [], [], (DONE, FetchStatus(False, None))).move.as_of is None


def test_a_record_from_the_future_does_not_complete_the_future() -> None:
    assert stepped(lane(), [of_transfer(5, 9999)], [], (BUSY, DONE)).move.as_of == 1000


def claimed_after(last: Raw) -> OwnedLane:
    one = lane()
    one.transfers = LaneSide("transfers", Offset(5), Offset(4), fingerprint(last))
    return one


def test_the_last_record_read_is_read_again_and_not_applied_again() -> None:
    last = of_transfer(4, 1)
    one = claimed_after(last)
    assert one.transfers.seek_offset == 4
    found = stepped(one, [last, of_transfer(5, 2)], [])
    assert [arrived.offset for arrived in found.records] == [5]
    assert found.move.halted_why is None


def test_another_record_in_its_place_halts_the_lane() -> None:
    found = stepped(claimed_after(of_transfer(4, 1)), [of_transfer(4, 2), of_transfer(5, 2)], [])
    assert found.move.halted_why == "transfers holds another record at 4 now: the topic was recreated"
    assert (found.records, found.move.transfers_to) == ([], 5)


def test_a_last_record_that_was_compacted_away_proves_nothing() -> None:
    found = stepped(claimed_after(of_transfer(4, 1)), [of_transfer(6, 2)], [])
    assert (found.move.halted_why, found.move.transfers_to) == (None, 7)


def test_too_many_refused_in_a_row_halt_the_lane_before_the_one_too_many() -> None:
    bad = [Raw(offset=offset, value=b"") for offset in (5, 6, 7)]
    first = stepped(lane(), bad[:1], [])
    first.advance_lane()
    found = stepped(first.lane, bad[1:], [])
    assert found.move.halted_why == "more than 2 consecutive records were rejected"
    assert (found.move.transfers_to, len(found.records)) == (7, 1)
    assert found.move.as_of is None


def test_a_log_that_ends_before_or_begins_after_the_next_offset_cannot_be_read() -> None:
    side = lane().transfers
    assert unreadable_reason(side, 0, 5) is None
    assert unreadable_reason(side, 5, 9) is None
    assert "recreated" in (unreadable_reason(side, 0, 4) or "")
    assert "history was lost" in (unreadable_reason(side, 6, 9) or "")


def test_halting_moves_nothing() -> None:
    move = halt_move(lane(), "because")
    assert (move.transfers_from, move.balances_from) == (move.transfers_to, move.balances_to) == (5, 7)
    assert (move.halted_why, move.as_of) == ("because", None)
