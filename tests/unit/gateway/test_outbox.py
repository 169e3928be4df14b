from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from livebalance.gateway.live.channel import delta_frame
from livebalance.gateway.live.outbox import Frame, Outbox
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis

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
