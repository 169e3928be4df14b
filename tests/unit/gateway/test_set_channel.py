"""The channel of a set: batches that arrive during a read, and batches that are not the projector's."""

import pytest
from msgspec.structs import replace

from livebalance.gateway.live.sets import set_channel
from livebalance.gateway.live.sets.set_channel import SetBatch, SetChannel
from livebalance.gateway.live.sets.stream import BatchStream
from livebalance.readmodel.gateway_reads import LaneProgress
from livebalance.readmodel.sets.reads import Member, SetState
from livebalance.wire.identity import AccountId, Epoch, Lane, Revision, SetName
from livebalance.wire.sets.batch import ChangedAccount, KeptTotal, LaneBatch
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView

EPOCH = Epoch("00000000000000a1")
A, LANE = AccountId("EU-1"), Lane(0)


def batch(number: int, amount: str, epoch: Epoch = EPOCH) -> LaneBatch:
    return LaneBatch(LANE, epoch, number, [ChangedAccount(A, Revision(number), amount, "EUR", "c")])


def state(number: int, amount: str, as_of: int = 1) -> SetState:
    view = MemberView(A, Revision(number), amount, "EUR", "c", None)
    return SetState(EPOCH, {LANE: number}, {A: Member(view, LANE)}, Millis(as_of))


class Fed:
    """A channel, and the stream that feeds it."""

    def __init__(self) -> None:
        self.stream = BatchStream()
        self.channel = SetChannel(SetName("prefix", "EU-"), self.stream, 0.0)

    def receive(self, received: LaneBatch) -> None:
        if self.stream.on_batch(received):
            self.channel.on_batch(SetBatch(received, received.accounts, received.totals))

    def read(self, stored: SetState) -> None:
        assert self.channel.begin_read()
        self.channel.on_read(stored)

    def is_synced(self) -> bool:
        return self.channel.is_synced

    @property
    def amount(self) -> str:
        [total] = self.channel.members.totals.views()
        return total.amount


def test_batches_during_a_read_follow_what_was_read() -> None:
    fed = Fed()
    fed.channel.begin_read()
    for received in (batch(2, "2.00"), batch(3, "3.00")):
        fed.receive(received)
    fed.channel.on_read(state(2, "2.00"))
    assert (fed.amount, fed.channel.lanes, fed.is_synced()) == ("3.00", {LANE: 3}, True)


def test_batches_that_the_read_contains_change_nothing() -> None:
    fed = Fed()
    fed.read(state(3, "3.00"))
    assert fed.stream.numbers == {LANE: 3}
    fed.receive(batch(3, "3.00"))
    fed.receive(batch(4, "4.00"))
    assert fed.amount == "4.00"


def test_read_that_lacks_a_batch_from_before_it_is_not_taken() -> None:
    fed = Fed()
    fed.channel.begin_read()
    fed.receive(batch(5, "5.00"))
    fed.channel.on_read(state(3, "3.00"))  # batch 4 was lost
    assert not fed.is_synced()


def test_too_many_batches_during_a_read_need_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_channel, "MAX_BUFFERED_ACCOUNTS", 1)
    fed = Fed()
    fed.channel.begin_read()
    for number in (2, 3):
        fed.receive(batch(number, "9.00"))
    fed.channel.on_read(state(1, "1.00"))
    assert not fed.is_synced()
    fed.read(state(3, "3.00"))
    assert (fed.amount, fed.is_synced()) == ("3.00", True)


@pytest.mark.parametrize("other", [batch(4, "9.00"), batch(6, "6.00"), batch(5, "5.00", Epoch("b" * 16))])
def test_lost_or_forged_batch_lets_the_set_be_read_again(other: LaneBatch) -> None:
    fed = Fed()
    fed.read(state(3, "3.00"))
    fed.receive(batch(4, "4.00"))
    assert fed.is_synced()
    fed.receive(other)
    assert not fed.is_synced()
    assert fed.amount == "4.00"


def test_audit_confirms_the_batches_that_arrived() -> None:
    fed = Fed()
    fed.read(state(3, "3.00"))
    fed.stream.begin_audit()
    fed.stream.on_audit(EPOCH, {LANE: LaneProgress(Millis(7), None, 4)}, 1, 10.0)
    assert fed.channel.as_of == 1  # of the read
    fed.receive(batch(4, "4.00"))
    assert fed.channel.as_of == 7


def test_batch_that_an_audit_saw_and_that_does_not_arrive_is_missing() -> None:
    fed = Fed()
    fed.read(state(3, "3.00"))
    fed.stream.begin_audit()
    fed.stream.on_audit(EPOCH, {LANE: LaneProgress(Millis(7), None, 4)}, 1, 10.0)
    fed.stream.check_overdue(9.0)
    assert fed.is_synced()
    fed.stream.check_overdue(10.0)
    assert not fed.is_synced()


def test_audit_without_a_batch_that_arrived_shows_a_forgery() -> None:
    fed = Fed()
    fed.read(state(3, "3.00"))
    fed.receive(batch(4, "999.00"))
    fed.stream.begin_audit()
    fed.stream.on_audit(EPOCH, {LANE: LaneProgress(Millis(7), None, 3)}, 1, 10.0)
    assert not fed.is_synced()
    fed.read(state(3, "3.00"))
    assert fed.amount == "3.00"
    assert fed.channel.replaced == fed.channel.members.newest


def kept(received: LaneBatch, amount: str, accounts: int = 1) -> LaneBatch:
    total = KeptTotal("prefix:EU-", "EUR", amount, accounts)
    return replace(received, totals=[KeptTotal("prefix:EU-", "EUR", "0", 0), total])


def test_batch_with_the_total_that_its_lane_keeps_is_applied() -> None:
    fed = Fed()
    fed.read(state(3, "3.00"))
    fed.receive(kept(batch(4, "4.00"), "4.00"))
    assert (fed.amount, fed.is_synced()) == ("4.00", True)


@pytest.mark.parametrize(
    "wrong",
    [
        kept(batch(4, "4.00"), "4.01"),
        kept(batch(4, "4.00"), "4.000"),  # another scale: another sum in SQL
        kept(batch(4, "4.00"), "4.00", accounts=2),
        kept(batch(4, "4.00"), "no amount"),
        replace(batch(4, "4.00"), totals=[KeptTotal("prefix:EU-", None, "4.00", 1)]),
    ],
)
def test_batch_with_another_total_is_not_applied(wrong: LaneBatch) -> None:
    fed = Fed()
    fed.read(state(3, "3.00"))
    fed.receive(wrong)
    assert (fed.amount, fed.is_synced()) == ("3.00", False)
    fed.read(state(4, "4.00"))
    assert (fed.amount, fed.is_synced()) == ("4.00", True)


def test_batch_with_another_total_during_a_read_needs_another_read() -> None:
    fed = Fed()
    fed.channel.begin_read()
    fed.receive(kept(batch(2, "9.00"), "2.00"))
    assert fed.channel.on_read(state(1, "1.00")).differs
    assert not fed.is_synced()
    fed.read(state(2, "2.00"))
    assert (fed.amount, fed.is_synced()) == ("2.00", True)


def test_total_that_is_wrong_in_sql_is_not_compared() -> None:
    """The sum of the members is shown: it is that of SQL."""
    fed = Fed()
    fed.channel.begin_read()
    fed.receive(kept(batch(4, "4.00"), "9.00"))
    fed.channel.on_read(state(3, "3.00")._replace(wrong_lanes=[LANE]))
    assert (fed.amount, fed.is_synced()) == ("4.00", True)
    fed.receive(kept(batch(5, "5.00"), "9.00"))
    assert (fed.amount, fed.is_synced()) == ("5.00", True)
    fed.read(state(5, "5.00"))  # it was corrected
    fed.receive(kept(batch(6, "6.00"), "9.00"))
    assert not fed.is_synced()
