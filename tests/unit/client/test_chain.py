"""The checker finds every kind of broken log, and finds nothing wrong with a right one."""

import pytest
from msgspec.structs import replace

from livebalance.wire.frame import ServerFrame, Snapshot, Unsubscribed
from livebalance.wire.identity import TransferId
from tests.checker import Violation, replay
from tests.unit.client.frames import CHANNEL, EPOCH, OTHER, balance, delta, snapshot, transfer


def test_a_right_log_gives_the_transfers_in_order() -> None:
    log: list[ServerFrame] = [snapshot(2), delta(2, 3, more=True), delta(3, 5), delta(5, 6, transfers=[])]
    found = replay(log)[CHANNEL]
    assert [t.revision for t in found.transfers] == [1, 2, 3, 4, 5]
    assert (found.epoch, found.revision, found.balance) == (EPOCH, 6, balance(6))


@pytest.mark.parametrize("shown", [[20, 19, 18], [20]])
def test_a_named_gap_is_no_violation(shown: list[int]) -> None:
    log: list[ServerFrame] = [
        snapshot(2),
        snapshot(20, [transfer(n) for n in shown], reason="too_far", gap=(2, 20)),
        delta(20, 21),
    ]
    found = replay(log)[CHANNEL]
    assert [t.revision for t in found.transfers] == [1, 2, *reversed(shown), 21]
    assert [(gap.from_, gap.to) for gap in found.gaps] == [(2, 20)]


@pytest.mark.parametrize(
    "again", [snapshot(1, reason="ahead"), snapshot(1, reason="epoch", epoch=OTHER)], ids=["ahead", "epoch"]
)
def test_a_state_may_begin_again_with_its_reason(again: Snapshot) -> None:
    found = replay([snapshot(5), again])[CHANNEL]
    assert (found.epoch, found.revision) == (again.epoch, 1)


def test_after_the_end_of_a_channel_it_may_begin_again() -> None:
    ended = Unsubscribed(CHANNEL, "gone", "erased")
    assert replay([snapshot(5), ended]) == {}
    assert replay([snapshot(5), ended, snapshot(1)])[CHANNEL].revision == 1


BROKEN: dict[str, list[ServerFrame]] = {
    "a gap": [snapshot(2), delta(3, 4)],
    "a repeat": [snapshot(2), delta(2, 3), delta(2, 3)],
    "an overlap": [snapshot(2), delta(1, 4)],
    "a delta first": [delta(0, 1)],
    "a delta of another epoch": [snapshot(2), delta(2, 3, epoch=OTHER)],
    "a step back": [snapshot(2), snapshot(1)],
    "a whole state where deltas were due": [snapshot(2), snapshot(60)],
    "a delta that does not grow": [snapshot(2), delta(2, 2, transfers=[])],
    "a transfer beyond the delta": [snapshot(2), delta(2, 3, transfers=[transfer(4)])],
    "a transfer from before the delta": [snapshot(2), delta(2, 3, transfers=[transfer(2)])],
    "transfers out of order": [snapshot(2), delta(2, 4, transfers=[transfer(4), transfer(3)])],
    "a snapshot in the order of a delta": [snapshot(2, transfers=[transfer(1), transfer(2)])],
    "a missing transfer": [snapshot(2), delta(2, 4, transfers=[transfer(4)])],
    "a wrong total": [snapshot(2), delta(2, 3, transfers=[transfer(3, total="9")])],
    "a wrong amount": [snapshot(2), delta(2, 3, transfers=[transfer(3, amount="2")])],
    "a balance that is not the sum": [snapshot(2), replace(delta(2, 3), balance=balance(3, amount="9"))],
    "a transfer twice": [
        snapshot(2),
        delta(2, 3, transfers=[replace(transfer(3, "0", "2"), id=TransferId("t2"))]),
    ],
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_log_is_found(what: str) -> None:
    with pytest.raises(Violation):
        replay(BROKEN[what])
