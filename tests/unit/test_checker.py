"""The checker accepts correct logs and finds every kind of broken log."""

import pytest
from msgspec.structs import replace

from livebalance.wire.frame import ServerFrame, Snapshot, Unsubscribed
from livebalance.wire.identity import TransferId
from tests.checker import Violation, replay
from tests.unit.client.frames import CHANNEL, EPOCH, OTHER_EPOCH, balance, delta, snapshot, transfer


def test_correct_log_gives_the_transfers_in_order() -> None:
    log: list[ServerFrame] = [snapshot(2), delta(2, 3, more=True), delta(3, 5), delta(5, 6, transfers=[])]
    account_log = replay(log)[CHANNEL]
    assert [t.revision for t in account_log.transfers] == [1, 2, 3, 4, 5]
    assert (account_log.epoch, account_log.revision, account_log.balance) == (EPOCH, 6, balance(6))


@pytest.mark.parametrize("shown", [[20, 19, 18], [20]])
def test_named_gap_is_accepted(shown: list[int]) -> None:
    log: list[ServerFrame] = [
        snapshot(2),
        snapshot(20, [transfer(n) for n in shown], reason="too_far", gap=(2, 20)),
        delta(20, 21),
    ]
    account_log = replay(log)[CHANNEL]
    assert [t.revision for t in account_log.transfers] == [1, 2, *reversed(shown), 21]
    assert [(gap.from_, gap.to) for gap in account_log.gaps] == [(2, 20)]


@pytest.mark.parametrize(
    "again",
    [snapshot(1, reason="ahead"), snapshot(1, reason="epoch", epoch=OTHER_EPOCH)],
    ids=["ahead", "epoch"],
)
def test_snapshot_with_a_reason_may_go_back(again: Snapshot) -> None:
    account_log = replay([snapshot(5), again])[CHANNEL]
    assert (account_log.epoch, account_log.revision) == (again.epoch, 1)


def test_unsubscribed_channel_may_begin_again() -> None:
    ended = Unsubscribed(CHANNEL, "gone", "erased")
    assert replay([snapshot(5), ended]) == {}
    assert replay([snapshot(5), ended, snapshot(1)])[CHANNEL].revision == 1


BROKEN: dict[str, list[ServerFrame]] = {
    "gap": [snapshot(2), delta(3, 4)],
    "repeated delta": [snapshot(2), delta(2, 3), delta(2, 3)],
    "overlap": [snapshot(2), delta(1, 4)],
    "delta without a snapshot": [delta(0, 1)],
    "delta of another epoch": [snapshot(2), delta(2, 3, epoch=OTHER_EPOCH)],
    "snapshot that goes back": [snapshot(2), snapshot(1)],
    "snapshot that skips revisions without a gap": [snapshot(2), snapshot(60)],
    "delta that does not increase the revision": [snapshot(2), delta(2, 2, transfers=[])],
    "transfer after the delta": [snapshot(2), delta(2, 3, transfers=[transfer(4)])],
    "transfer before the delta": [snapshot(2), delta(2, 3, transfers=[transfer(2)])],
    "transfers out of order": [snapshot(2), delta(2, 4, transfers=[transfer(4), transfer(3)])],
    "snapshot with the oldest transfer first": [snapshot(2, transfers=[transfer(1), transfer(2)])],
    "missing transfer": [snapshot(2), delta(2, 4, transfers=[transfer(4)])],
    "wrong total": [snapshot(2), delta(2, 3, transfers=[transfer(3, total="9")])],
    "wrong amount": [snapshot(2), delta(2, 3, transfers=[transfer(3, amount="2")])],
    "balance that is not opening + total": [
        snapshot(2),
        replace(delta(2, 3), balance=balance(3, amount="9")),
    ],
    "repeated transfer": [
        snapshot(2),
        delta(2, 3, transfers=[replace(transfer(3, "0", "2"), id=TransferId("t2"))]),
    ],
}


@pytest.mark.parametrize("fault", BROKEN)
def test_broken_log_is_found(fault: str) -> None:
    with pytest.raises(Violation):
        replay(BROKEN[fault])
