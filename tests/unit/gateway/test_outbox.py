from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from livebalance.gateway.live.channel import delta_frame
from livebalance.gateway.live.outbox import Frame, Outbox, SessionEvent
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.frame import SetDelta, encode_frame
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision, SetName
from livebalance.wire.timestamp import Millis
from livebalance.wire.views import MemberView, TotalView

ALICE, BOB = AccountId("alice"), AccountId("bob")


def position(revision: int) -> Position:
    return Position(Epoch("00000000000000a1"), Revision(revision))


def data_frame(account: AccountId, revision: int, size: int = 10) -> Frame:
    """A frame of `size` bytes that cannot merge."""
    return Frame(account, position(revision), position(revision + 1), b"%d" % (revision % 10) * size)


def transfer_frame(account: AccountId, revision: int) -> Frame:
    """A delta with a transfer, which can merge."""
    transfer, balance = b'{"id":"t-%d"}' % (revision + 1), b'{"revision":%d}' % (revision + 1)
    parts = DeltaParts(
        position(0).epoch, Revision(revision), Revision(revision + 1), Millis(0), balance, transfer
    )
    return delta_frame(account, make_delta(account, Lane(0), parts))


def texts(frames: list[Frame | bytes]) -> list[bytes]:
    return [frame if isinstance(frame, bytes) else frame.text for frame in frames]


def decoded(frames: list[Frame | bytes]) -> list[Any]:
    return [json.decode(text) for text in texts(frames)]


def blocked_outbox(max_bytes: int) -> Outbox:
    outbox = Outbox(max_bytes)
    outbox.writable = False
    return outbox


def test_outbox_keeps_the_order_and_sends_the_newest_heartbeat_last() -> None:
    outbox = Outbox(100)
    outbox.set_heartbeat(b"old")
    outbox.put_control(b"ok")
    outbox.put(data_frame(ALICE, 1, 1))
    outbox.set_heartbeat(b"new")
    outbox.put_control(b"later")
    assert texts(outbox.pop(0.0)) == [b"ok", b"1", b"later", b"new"]
    assert outbox.pop(0.0) == []
    assert outbox.is_empty


def test_writable_outbox_has_no_bound() -> None:
    outbox = Outbox(15)
    assert outbox.put(data_frame(ALICE, 1))
    assert outbox.put(data_frame(ALICE, 2))


def test_pop_returns_at_most_the_bound_and_the_heartbeat_last() -> None:
    outbox = Outbox(25)
    outbox.set_heartbeat(b"beat")
    for revision, size in ((1, 10), (2, 15), (3, 26), (4, 10)):
        outbox.put_control(b"ok%d" % revision)
        assert outbox.put(data_frame(ALICE, revision, size))
    assert texts(outbox.pop(0.0)) == [b"ok1", b"1" * 10, b"ok2", b"2" * 15, b"ok3"]
    assert (outbox.size, outbox.control_messages, outbox.is_empty) == (36, 1, False)
    assert texts(outbox.pop(0.0)) == [b"3" * 26, b"ok4"]  # more than the bound, but it cannot be divided
    assert texts(outbox.pop(0.0)) == [b"4" * 10, b"beat"]
    assert (outbox.pop(0.0), outbox.is_empty, outbox.popped) == ([], True, 9)


def test_outbox_that_stops_being_writable_no_longer_fits_beyond_its_bound() -> None:
    outbox = Outbox(15)
    for revision in (1, 2):
        outbox.put(data_frame(ALICE, revision))
    assert outbox.fit()
    outbox.writable = False
    assert not outbox.fit()


def test_outbox_over_its_bound_drops_data_to_positions_and_keeps_control_messages() -> None:
    outbox = blocked_outbox(25)
    assert outbox.put(data_frame(ALICE, 5))
    outbox.put_control(b"ok")
    assert outbox.put(data_frame(ALICE, 6))
    assert not outbox.put(data_frame(BOB, 1))
    assert outbox.drop_data() == {ALICE: position(5), BOB: position(1)}
    assert (outbox.size, outbox.control_messages) == (0, 1)
    assert outbox.put(data_frame(BOB, 1))
    assert outbox.pop(0.0) == [b"ok", data_frame(BOB, 1)]


def test_drop_account_removes_the_frames_of_that_account_only() -> None:
    outbox = blocked_outbox(100)
    for frame in (data_frame(ALICE, 5), data_frame(BOB, 1), data_frame(ALICE, 6)):
        outbox.put(frame)
    assert outbox.drop_account(ALICE) == data_frame(ALICE, 5)
    assert outbox.drop_account(ALICE) is None
    assert outbox.size == 10
    assert outbox.pop(0.0) == [data_frame(BOB, 1)]


def test_outbox_over_its_bound_merges_the_deltas_of_each_account() -> None:
    size = len(transfer_frame(ALICE, 5).text)
    outbox = blocked_outbox(4 * size)
    for revision in (5, 6, 7):
        assert outbox.put(transfer_frame(ALICE, revision))
        assert outbox.put(transfer_frame(BOB, revision))
    assert outbox.size < 4 * size
    assert outbox.conflated_by_size == 3  # the last frame came after the merge
    outbox.writable = True
    first, second, third = decoded(outbox.pop(0.0))
    assert (first["channel"], first["from"], first["to"]) == ("account:alice", 5, 8)
    assert (first["transfers"], first["balance"]) == ([{"id": f"t-{n}"} for n in (6, 7, 8)], {"revision": 8})
    assert (second["channel"], second["from"], second["to"]) == ("account:bob", 5, 7)
    assert (third["channel"], third["from"], third["to"]) == ("account:bob", 7, 8)


def test_outbox_with_an_interval_merges_data_until_it_is_due_and_does_not_delay_control_messages() -> None:
    outbox = Outbox(10_000)
    outbox.set_interval(2.0)
    outbox.put(transfer_frame(ALICE, 5))
    assert len(outbox.pop(100.0)) == 1
    for revision in (6, 7):
        outbox.put(transfer_frame(ALICE, revision))
    outbox.put_control(b'{"type":"ok"}')
    assert (outbox.is_delayed, outbox.due) == (True, 102.0)
    assert decoded(outbox.pop(101.9)) == [{"type": "ok"}]
    assert not outbox.is_empty
    assert [(frame["from"], frame["to"]) for frame in decoded(outbox.pop(102.0))] == [(6, 8)]
    outbox.put(transfer_frame(ALICE, 8))
    outbox.set_interval(0.0)
    assert [(frame["from"], frame["to"]) for frame in decoded(outbox.pop(102.1))] == [(8, 9)]
    assert outbox.popped == 4


@given(st.lists(st.tuples(st.sampled_from([ALICE, BOB]), st.integers(1, 40), st.booleans()), max_size=60))
def test_blocked_outbox_never_holds_more_data_than_its_bound(
    arrivals: list[tuple[AccountId, int, bool]],
) -> None:
    outbox = blocked_outbox(100)
    for number, (account, size, is_control) in enumerate(arrivals):
        if is_control:
            outbox.put_control(b"c" * size)
        elif not outbox.put(data_frame(account, number, size)):
            outbox.drop_data()
        assert outbox.size <= 100
    control_bytes = sum(size for _, size, is_control in arrivals if is_control)
    assert sum(map(len, texts(outbox.pop(0.0)))) <= 100 + control_bytes


SNAPSHOT, GONE = SessionEvent("snapshot", "subscribed"), SessionEvent("unsubscribed", "gone")


def test_new_outbox_has_nothing_to_report() -> None:
    outbox = Outbox(100)
    assert outbox.is_empty
    assert not outbox.needs_attention
    counts = (outbox.size, outbox.control_messages, outbox.popped, outbox.overflows)
    assert (counts, outbox.events, outbox.due) == ((0, 0, 0, 0), (), 0.0)
    assert (outbox.conflated_by_size, outbox.conflated_by_rate) == (0, 0)
    assert outbox.pop(0.0) == []


def test_events_of_frames_and_control_messages_are_counted_in_order() -> None:
    outbox = Outbox(100)
    outbox.put(data_frame(ALICE, 1))
    outbox.put_control(b"ok")
    assert (outbox.events, outbox.needs_attention) == ((), False)
    outbox.put(Frame(ALICE, position(1), position(2), b"x", event=SNAPSHOT))
    outbox.put_control(b"gone", GONE)
    assert (outbox.events, outbox.needs_attention) == ((SNAPSHOT, GONE), True)


def test_overflows_are_counted() -> None:
    outbox = blocked_outbox(5)
    for _ in range(2):
        outbox.needs_attention = False
        assert not outbox.put(data_frame(ALICE, 3))
        assert outbox.overflow() == {ALICE: position(3)}
        assert outbox.needs_attention is True
    assert (outbox.overflows, outbox.size) == (2, 0)


def test_data_of_exactly_the_bound_is_not_conflated() -> None:
    frames = [transfer_frame(ALICE, revision) for revision in (5, 6)]
    outbox = blocked_outbox(sum(len(frame.text) for frame in frames))
    assert [outbox.put(frame) for frame in frames] == [True, True]
    assert outbox.conflated_by_size == 0
    assert outbox.put(transfer_frame(ALICE, 7))
    assert outbox.conflated_by_size == 2


def test_data_of_exactly_the_bound_after_a_merge_is_kept() -> None:
    merged = blocked_outbox(10_000)
    for revision in (5, 6):
        merged.put(transfer_frame(ALICE, revision))
    merged._conflate()
    outbox = blocked_outbox(merged.size)
    assert outbox.put(transfer_frame(ALICE, 5))
    assert outbox.put(transfer_frame(ALICE, 6))
    assert outbox.size == merged.size


def test_popped_outbox_begins_again_at_zero() -> None:
    outbox = Outbox(100)
    for _ in range(2):
        outbox.put_control(b"a")
        outbox.put_control(b"b")
        outbox.put(data_frame(ALICE, 1))
        assert (outbox.control_messages, outbox.size) == (2, 10)
        outbox.pop(0.0)
        assert (outbox.control_messages, outbox.size) == (0, 0)
    outbox.set_interval(2.0)
    outbox.put(data_frame(ALICE, 1))
    outbox.put_control(b"a")
    outbox.pop(100.0)
    assert (outbox.control_messages, outbox.size, outbox.due) == (0, 0, 102.0)
    outbox.put_control(b"a")
    outbox.put(data_frame(ALICE, 1))
    outbox.needs_attention = False
    outbox.pop(101.0)
    assert (outbox.control_messages, outbox.size, outbox.needs_attention) == (0, 10, True)


def test_heartbeat_is_sent_once() -> None:
    outbox = Outbox(100)
    outbox.set_heartbeat(b"beat")
    assert outbox.pop(0.0) == [b"beat"]
    outbox.set_heartbeat(b"beat")
    outbox.set_heartbeat(b"")
    assert outbox.pop(0.0) == []


def test_data_beyond_the_bound_does_not_wait_for_the_interval() -> None:
    """It is never dropped while the transport accepts bytes: a read would bring the same again, for ever."""
    outbox = Outbox(25)
    outbox.set_interval(2.0)
    for revision in (1, 2):
        assert outbox.put(data_frame(ALICE, revision))
    assert texts(outbox.pop(100.0)) == [b"1" * 10, b"2" * 10]
    for revision in (3, 4, 5):
        assert outbox.put(data_frame(ALICE, revision))
    assert texts(outbox.pop(100.5)) == [b"3" * 10, b"4" * 10]
    assert outbox.pop(101.9) == []
    assert (outbox.size, outbox.due) == (10, 102.0)
    assert outbox.put(data_frame(ALICE, 6, 40))
    assert texts(outbox.pop(101.9)) == [b"5" * 10]
    assert texts(outbox.pop(101.9)) == [b"6" * 40]
    assert (outbox.size, outbox.due) == (0, 103.9)


def test_deltas_that_merge_to_less_than_the_bound_wait_for_the_interval() -> None:
    outbox = Outbox(len(transfer_frame(ALICE, 5).text) * 2)
    outbox.set_interval(2.0)
    outbox.pop(100.0)
    outbox.put(data_frame(BOB, 1))
    outbox.pop(100.0)
    for revision in range(5, 9):
        assert outbox.put(transfer_frame(ALICE, revision))
    assert outbox.pop(101.0) == []
    assert [(frame["from"], frame["to"]) for frame in decoded(outbox.pop(102.0))] == [(5, 9)]


def test_data_of_exactly_the_bound_waits_as_it_is() -> None:
    size = len(transfer_frame(ALICE, 5).text)
    outbox = Outbox(2 * size)
    outbox.set_interval(0.5)
    outbox.put(data_frame(BOB, 1, 1))
    outbox.pop(100.0)
    for revision in (5, 6):
        outbox.put(transfer_frame(ALICE, revision))
    assert outbox.pop(100.4) == []
    assert (outbox.size, outbox.conflated_by_rate) == (2 * size, 0)
    assert len(outbox.pop(100.5)) == 1


def test_a_single_byte_waits_for_a_short_interval() -> None:
    outbox = Outbox(100)
    outbox.set_interval(0.5)
    for revision in (1, 2):
        outbox.put(data_frame(ALICE, revision, 1))
        popped = outbox.pop(100.0)
    assert popped == []
    assert outbox.pop(100.5) == [data_frame(ALICE, 2, 1)]


def test_source_that_can_wait_has_room_up_to_the_bound() -> None:
    outbox = Outbox(25)
    assert outbox.has_room(26)  # nothing waits: a larger frame cannot be divided
    outbox.put(data_frame(ALICE, 1))
    assert outbox.has_room(15)
    assert not outbox.has_room(16)
    outbox.writable = False
    assert not outbox.has_room(15)
    assert not blocked_outbox(25).has_room(1)


def test_source_that_can_wait_need_not_wait_for_the_interval() -> None:
    """The next write takes what is beyond the bound."""
    outbox = Outbox(25)
    outbox.set_interval(60.0)
    for revision, size in ((1, 20), (2, 5), (3, 10)):
        assert outbox.has_room(size)
        outbox.put(data_frame(ALICE, revision, size))
    assert not outbox.has_room(1)
    outbox.pop(0.0)
    outbox.writable = False
    assert not outbox.has_room(1)


def test_delta_of_a_large_batch_does_not_conflate_what_is_written_at_once() -> None:
    outbox = Outbox(2 * len(transfer_frame(ALICE, 5).text))
    outbox.set_interval(60.0)
    for revision in range(100):
        outbox.put(transfer_frame(ALICE, revision))
    assert outbox.conflated_by_rate == 0
    assert len(outbox.pop(0.0)) == 1
    assert outbox.conflated_by_rate == 99


def test_frames_are_rewritten_as_they_are_popped() -> None:
    outbox = Outbox(25)
    outbox.rewrite = lambda frames: [b"rewritten", *frames]
    for revision in (1, 2, 3):
        outbox.put(data_frame(ALICE, revision))
    assert outbox.pop(0.0) == [b"rewritten", data_frame(ALICE, 1), data_frame(ALICE, 2)]
    assert outbox.pop(0.0) == [b"rewritten", data_frame(ALICE, 3)]


def test_changes_of_a_set_merge_into_the_newest_state_of_each_member() -> None:
    def change(number: int, amount: str) -> Frame:
        member = MemberView(ALICE, Revision(number), amount, "EUR", "c", None)
        delta = SetDelta(
            channel="prefix:a", epoch=position(0).epoch, from_=number, to=number + 1, members=[member],
            totals=[TotalView("EUR", amount, 1)], lanes={"0": number},
        )  # fmt: skip
        text = encode_frame(delta)
        return Frame(SetName("prefix", "a"), position(number), position(number + 1), text, mergeable=True)

    outbox = Outbox(10_000)
    outbox.set_interval(2.0)
    for number in (1, 2):
        outbox.put(change(number, f"{number}.00"))
    [merged] = decoded(outbox.pop(100.0))
    assert (merged["from"], merged["to"], merged["lanes"]) == (1, 3, {"0": 2})
    assert [member["amount"] for member in merged["members"]] == ["2.00"]


def test_new_interval_makes_waiting_data_due() -> None:
    outbox = Outbox(10_000)
    outbox.set_interval(2.0)
    outbox.put(data_frame(ALICE, 1))
    outbox.pop(0.5)
    outbox.put(data_frame(ALICE, 2))
    outbox.set_interval(5.0)
    assert outbox.due == 0.0
    assert outbox.pop(0.75) == [data_frame(ALICE, 2)]
    assert outbox.due == 5.75


def test_merged_frames_are_counted_by_their_cause_and_merge_again() -> None:
    outbox = blocked_outbox(10_000)
    expected = {"conflated_by_size": 0, "conflated_by_rate": 0}
    for interval, cause in ((0.0, "conflated_by_size"), (2.0, "conflated_by_rate")):
        for _ in range(2):
            outbox._interval = interval
            outbox.needs_attention = False
            outbox.put(transfer_frame(ALICE, 4))
            outbox._conflate()
            attention = [outbox.needs_attention]
            for revision in (5, 6):
                outbox.put(transfer_frame(ALICE, revision))
                outbox._conflate()
                expected[cause] += 1
            assert [*attention, outbox.needs_attention] == [False, True]
            assert {name: getattr(outbox, name) for name in expected} == expected
            [frame] = outbox._frames
            assert isinstance(frame, Frame)
            assert (frame.account, frame.before, frame.after) == (ALICE, position(4), position(7))
            assert frame.mergeable is True
            outbox.drop_data()


def test_conflation_keeps_what_needed_attention_before() -> None:
    outbox = blocked_outbox(100)
    outbox.count(GONE)
    outbox.put(data_frame(ALICE, 1))
    outbox._conflate()
    assert outbox.needs_attention is True


def test_frame_merged_of_many_leads_from_the_first_to_the_last() -> None:
    outbox = blocked_outbox(10_000)
    for revision in (4, 5, 6, 7):
        outbox.put(transfer_frame(ALICE, revision))
    outbox._conflate()
    [frame] = outbox._frames
    assert isinstance(frame, Frame)
    assert (frame.before, frame.after) == (position(4), position(8))


def test_data_of_exactly_the_bound_is_one_write_with_the_heartbeat() -> None:
    outbox = Outbox(10)
    outbox.put(data_frame(ALICE, 1))
    outbox.set_heartbeat(b"beat")
    assert texts(outbox.pop(0.0)) == [b"1" * 10, b"beat"]


def test_data_of_exactly_the_bound_fits_without_conflation() -> None:
    frames = [transfer_frame(ALICE, revision) for revision in (1, 2)]
    outbox = Outbox(sum(len(frame.text) for frame in frames))
    assert all(map(outbox.put, frames))
    outbox.writable = False  # the transport pauses with all of it waiting
    assert outbox.fit()
    assert outbox.conflated_by_size == 0
