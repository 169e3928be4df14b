from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from livebalance.gateway.outbox import Outbox, Parcel, ready
from livebalance.wire.identity import AccountId, Epoch, Position, Revision

ALICE, BOB = AccountId("alice"), AccountId("bob")


def at(revision: int) -> Position:
    return Position(Epoch("00000000000000a1"), Revision(revision))


def parcel(account: AccountId, revision: int, size: int = 10) -> Parcel:
    return Parcel(account, at(revision), at(revision + 1), b"%d" % (revision % 10) * size)


def blocked(limit: int) -> Outbox:
    outbox = Outbox(limit)
    outbox.writable = False
    return outbox


@given(st.binary(max_size=200) | st.sampled_from([b"x" * 65535, b"x" * 65536, b"x" * 70000]))
def test_a_ready_frame_is_what_a_websocket_library_makes(text: bytes) -> None:
    assert ready(text) == Frame(Opcode.TEXT, text).serialize(mask=False)


def test_everything_goes_out_in_order_and_the_newest_heartbeat_last() -> None:
    outbox = Outbox(100)
    outbox.beat(b"old;")
    outbox.say(b"ok;")
    outbox.put(parcel(ALICE, 1, 1))
    outbox.beat(b"new;")
    outbox.say(b"later;")
    assert outbox.take() == b"ok;1later;new;"
    assert outbox.take() == b""
    assert outbox.empty


def test_while_the_transport_takes_bytes_there_is_no_bound() -> None:
    outbox = Outbox(15)
    assert outbox.put(parcel(ALICE, 1))
    assert outbox.put(parcel(ALICE, 2))


def test_over_the_bound_positions_are_left_and_words_stay() -> None:
    outbox = blocked(25)
    assert outbox.put(parcel(ALICE, 5))
    outbox.say(b"ok;")
    assert outbox.put(parcel(ALICE, 6))
    assert not outbox.put(parcel(BOB, 1))
    assert outbox.forget_all() == {ALICE: at(5)}
    assert (outbox.size, outbox.words) == (0, 1)
    assert outbox.put(parcel(BOB, 1))
    assert outbox.take() == b"ok;" + parcel(BOB, 1).frame


def test_one_account_can_be_forgotten_alone() -> None:
    outbox = blocked(100)
    for one in (parcel(ALICE, 5), parcel(BOB, 1), parcel(ALICE, 6)):
        outbox.put(one)
    assert outbox.forget(ALICE) == parcel(ALICE, 5)
    assert outbox.forget(ALICE) is None
    assert outbox.size == 10
    assert outbox.take() == parcel(BOB, 1).frame


@given(st.lists(st.tuples(st.sampled_from([ALICE, BOB]), st.integers(1, 40), st.booleans()), max_size=60))
def test_the_bound_holds_whatever_comes(arrivals: list[tuple[AccountId, int, bool]]) -> None:
    outbox = blocked(100)
    for number, (account, size, word) in enumerate(arrivals):
        if word:
            outbox.say(b"w" * size)
        elif not outbox.put(parcel(account, number, size)):
            outbox.forget_all()
        assert outbox.size <= 100
    words = sum(size for _, size, word in arrivals if word)
    assert len(outbox.take()) <= 100 + words
