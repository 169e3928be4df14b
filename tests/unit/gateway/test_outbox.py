from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from livebalance.gateway.live.channel import frame_of_delta
from livebalance.gateway.live.outbox import Frame, Outbox
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis

ALICE, BOB = AccountId("alice"), AccountId("bob")


def at(revision: int) -> Position:
    return Position(Epoch("00000000000000a1"), Revision(revision))


def data_frame(account: AccountId, revision: int, size: int = 10) -> Frame:
    return Frame(account, at(revision), at(revision + 1), b"%d" % (revision % 10) * size)


def texts(frames: list[Frame | bytes]) -> list[bytes]:
    return [frame if isinstance(frame, bytes) else frame.text for frame in frames]


def decoded(frames: list[Frame | bytes]) -> list[Any]:
    return [json.decode(text) for text in texts(frames)]


def blocked(limit: int) -> Outbox:
    outbox = Outbox(limit)
    outbox.writable = False
    return outbox


def test_everything_goes_out_in_order_and_the_newest_heartbeat_last() -> None:
    outbox = Outbox(100)
    outbox.beat(b"old;")
    outbox.say(b"ok;")
    outbox.put(data_frame(ALICE, 1, 1))
    outbox.beat(b"new;")
    outbox.say(b"later;")
    assert texts(outbox.pop(0.0)) == [b"ok;", b"1", b"later;", b"new;"]
    assert outbox.pop(0.0) == []
    assert outbox.empty


def test_while_the_transport_takes_bytes_there_is_no_bound() -> None:
    outbox = Outbox(15)
    assert outbox.put(data_frame(ALICE, 1))
    assert outbox.put(data_frame(ALICE, 2))


def test_over_the_bound_positions_are_left_and_words_stay() -> None:
    outbox = blocked(25)
    assert outbox.put(data_frame(ALICE, 5))
    outbox.say(b"ok;")
    assert outbox.put(data_frame(ALICE, 6))
    assert not outbox.put(data_frame(BOB, 1))
    assert outbox.forget_all() == {ALICE: at(5), BOB: at(1)}
    assert (outbox.size, outbox.words) == (0, 1)
    assert outbox.put(data_frame(BOB, 1))
    assert outbox.pop(0.0) == [b"ok;", data_frame(BOB, 1)]


def test_one_account_can_be_forgotten_alone() -> None:
    outbox = blocked(100)
    for one in (data_frame(ALICE, 5), data_frame(BOB, 1), data_frame(ALICE, 6)):
        outbox.put(one)
    assert outbox.forget(ALICE) == data_frame(ALICE, 5)
    assert outbox.forget(ALICE) is None
    assert outbox.size == 10
    assert outbox.pop(0.0) == [data_frame(BOB, 1)]


def moved(account: AccountId, revision: int) -> Frame:
    """A transfer, as the hub relays it."""
    texts = b'{"revision":%d}' % (revision + 1), b'{"id":"t-%d"}' % (revision + 1)
    parts = DeltaParts(
        at(0).epoch, Revision(revision), Revision(revision + 1), Millis(revision * 1000), *texts
    )
    return frame_of_delta(account, make_delta(account, Lane(0), parts))


def test_over_the_bound_each_account_becomes_one_delta_with_every_transfer_and_the_last_balance() -> None:
    one = len(moved(ALICE, 5).text)
    outbox = blocked(4 * one)
    for revision in (5, 6, 7):
        assert outbox.put(moved(ALICE, revision))
        assert outbox.put(moved(BOB, revision))
    assert outbox.size < 4 * one
    assert outbox.conflated == 3  # the last is not one with them yet
    outbox.writable = True
    first, second, third = decoded(outbox.pop(0.0))
    assert (first["channel"], first["from"], first["to"]) == ("account:alice", 5, 8)
    assert (first["transfers"], first["balance"]) == ([{"id": f"t-{n}"} for n in (6, 7, 8)], {"revision": 8})
    assert (second["channel"], second["from"], second["to"]) == ("account:bob", 5, 7)
    assert (third["channel"], third["from"], third["to"]) == ("account:bob", 7, 8)


def test_a_client_that_wants_less_often_gets_one_delta_of_each_account_when_it_is_due() -> None:
    outbox = Outbox(10_000)
    outbox.pace(2.0)
    outbox.put(moved(ALICE, 5))
    assert len(decoded(outbox.pop(100.0))) == 1
    for revision in (6, 7):
        outbox.put(moved(ALICE, revision))
    outbox.say(b'{"type":"ok"}')
    assert (outbox.held, outbox.due) == (True, 102.0)
    assert decoded(outbox.pop(101.9)) == [{"type": "ok"}]
    assert not outbox.empty
    assert [(one["from"], one["to"]) for one in decoded(outbox.pop(102.0))] == [(6, 8)]
    outbox.put(moved(ALICE, 8))
    outbox.pace(0.0)
    assert [(one["from"], one["to"]) for one in decoded(outbox.pop(102.1))] == [(8, 9)]
    assert outbox.taken == 4


@given(st.lists(st.tuples(st.sampled_from([ALICE, BOB]), st.integers(1, 40), st.booleans()), max_size=60))
def test_the_bound_holds_whatever_comes(arrivals: list[tuple[AccountId, int, bool]]) -> None:
    outbox = blocked(100)
    for number, (account, size, word) in enumerate(arrivals):
        if word:
            outbox.say(b"w" * size)
        elif not outbox.put(data_frame(account, number, size)):
            outbox.forget_all()
        assert outbox.size <= 100
    words = sum(size for _, size, word in arrivals if word)
    assert sum(map(len, texts(outbox.pop(0.0)))) <= 100 + words
