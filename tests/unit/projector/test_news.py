"""Content is published of a batch."""

import json

from livebalance.projector.fold.records import Content, Erasure
from livebalance.projector.redis.messages import MessageEncoder
from livebalance.wire.delta import decode_delta, decode_progress, split_delta_frame
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import numbered
from tests.unit.projector.shelf import Shelf, shelved
from tests.unit.projector.test_lane import BUSY, EPOCH, lane, stepped

A = AccountId("a")
NEWSROOM = MessageEncoder("live:", "transfers", "EUR", 5000)
SOON = Millis(1000 + 5000)
OPENED = Balance(A, "c", TransferId(""), Money(100, 2), 0)


def paid(id_: str, unscaled: int) -> Transfer:
    return Transfer(TransferId(id_), A, Money(unscaled, 2), 0)


def published(shelf: Shelf, *records: Content) -> list[tuple[str, bytes]]:
    folded = shelved(shelf, numbered(records, [20] * len(records)))
    return NEWSROOM.deltas([stepped(lane(), [], [])], folded, SOON)


def test_one_message_per_account_with_its_parts_ready() -> None:
    shelf = Shelf()
    published(shelf, OPENED)
    [(channel, payload)] = published(shelf, paid("t", 5), paid("u", 7))
    delta = decode_delta(A, payload)
    assert channel == "live:account:a"
    assert (delta.lane, delta.epoch, delta.from_, delta.to) == (3, EPOCH, 1, 3)
    parts = split_delta_frame(delta.text)
    assert (parts.recorded_at, delta.gone) == (20, False)
    transfers = json.loads(b"[" + parts.transfers + b"]")
    assert [(one["id"], one["total"], one["revision"]) for one in transfers] == [
        ("t", "0.05", 2),
        ("u", "0.12", 3),
    ]
    assert transfers[0]["source"] == "transfers/3@0"
    balance = json.loads(parts.balance)
    assert (balance["amount"], balance["opening"], balance["half_applied"]) == ("1.00", "1.00", "0.12")
    assert (balance["revision"], balance["currency"]) == (3, "EUR")


def test_before_the_first_balance_it_is_null() -> None:
    [(_, payload)] = published(Shelf(), paid("t", 5))
    assert split_delta_frame(decode_delta(A, payload).text).balance == b"null"


def test_more_transfers_than_fit_are_a_header_only() -> None:
    for count, alone in ((60, False), (150, True), (400, True)):
        [(_, payload)] = published(Shelf(), *[paid(f"t{number}", 1) for number in range(count)])
        delta = decode_delta(A, payload)
        assert (delta.from_, delta.to, delta.header_only) == (0, count, alone)


def test_an_erased_account_is_gone() -> None:
    shelf = Shelf()
    published(shelf, OPENED, paid("t", 5))
    [(_, payload)] = published(shelf, Erasure(A))
    delta = decode_delta(A, payload)
    parts = split_delta_frame(delta.text)
    assert (delta.gone, parts.balance, parts.transfers) == (True, b"null", b"")


def test_a_duplicate_is_no_news() -> None:
    shelf = Shelf()
    published(shelf, paid("t", 5))
    assert published(shelf, paid("t", 5)) == []


def test_a_lane_far_behind_tells_only_its_progress() -> None:
    folded = shelved(Shelf(), numbered([paid("t", 5)], [20]))
    late, later = [stepped(lane(), [], [])], Millis(SOON + 1)
    assert NEWSROOM.deltas(late, folded, later) == []
    [(channel, payload)] = NEWSROOM.progress(late, later)
    assert channel == "live:lane:3"
    assert decode_progress(payload) == (3, EPOCH, 1000, True)
    assert decode_progress(NEWSROOM.progress(late, SOON)[0][1]).behind is False


def test_a_lane_of_unknown_progress_tells_none() -> None:
    assert NEWSROOM.progress([stepped(lane(), [], [], (BUSY, BUSY))], SOON) == []
