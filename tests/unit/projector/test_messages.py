"""The Redis messages of a batch."""

import json

from livebalance.projector.fold.records import Content
from livebalance.projector.redis.messages import MessageEncoder
from livebalance.wire.delta import (
    FORMAT,
    POSITIONS_FORMAT,
    decode_delta,
    decode_progress,
    read_header,
    split_delta_frame,
)
from livebalance.wire.identity import AccountId, TransferId
from livebalance.wire.kafka.raw_record import Erasure
from livebalance.wire.kafka.record import Balance, Transfer
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis
from tests.unit.projector.histories import incoming_records
from tests.unit.projector.memory_store import MemoryStore, fold_and_write
from tests.unit.projector.test_lane import BEHIND, EPOCH, make_lane, make_step

A = AccountId("a")
ENCODER = MessageEncoder("live:", "transfers", "EUR", 5000)
SOON = Millis(1000 + 5000)
OPENED = Balance(A, "c", TransferId(""), Money(100, 2), 0)


def paid(id_: str, unscaled: int) -> Transfer:
    return Transfer(TransferId(id_), A, Money(unscaled, 2), 0)


def published(store: MemoryStore, *records: Content) -> list[tuple[str, bytes]]:
    folded = fold_and_write(store, incoming_records(records, [20] * len(records)))
    return [*ENCODER.deltas([make_step(make_lane(), [], [])], folded, SOON)]


def test_delta_has_the_account_change_and_its_transfers() -> None:
    store = MemoryStore()
    published(store, OPENED)
    [(channel, payload)] = published(store, paid("t", 5), paid("u", 7))
    delta = decode_delta(A, payload)
    assert channel == "live:account:a"
    assert (delta.lane, delta.epoch, delta.from_, delta.to) == (3, EPOCH, 1, 3)
    parts = split_delta_frame(delta.text)
    assert (parts.recorded_at, delta.gone) == (20, False)
    transfers = json.loads(b"[" + parts.transfers + b"]")
    assert [(transfer["id"], transfer["total"], transfer["revision"]) for transfer in transfers] == [
        ("t", "0.05", 2),
        ("u", "0.12", 3),
    ]
    assert transfers[0]["source"] == "transfers/3@0"
    balance = json.loads(parts.balance)
    assert (balance["amount"], balance["opening"], balance["half_applied"]) == ("1.00", "1.00", "0.12")
    assert (balance["revision"], balance["currency"]) == (3, "EUR")


def test_delta_has_its_positions_in_the_header_only_if_that_is_set() -> None:
    change = fold_and_write(MemoryStore(), incoming_records([paid("t", 5)], [20]))
    for positions in (False, True):
        encoder = ENCODER._replace(positions=positions)
        [(_, payload)] = encoder.deltas([make_step(make_lane(), [], [])], change, SOON)
        assert payload[0] == (POSITIONS_FORMAT if positions else FORMAT)
        assert (read_header(A, payload) is not None) == positions
        assert decode_delta(A, payload).to == 1


def test_delta_before_the_first_balance_has_null_balance() -> None:
    [(_, payload)] = published(MemoryStore(), paid("t", 5))
    assert split_delta_frame(decode_delta(A, payload).text).balance == b"null"


def test_delta_with_too_many_transfers_is_header_only() -> None:
    for count, header_only in ((60, False), (150, True), (400, True)):
        [(_, payload)] = published(MemoryStore(), *[paid(f"t{number}", 1) for number in range(count)])
        delta = decode_delta(A, payload)
        assert (delta.from_, delta.to, delta.header_only) == (0, count, header_only)


def test_delta_of_erased_account_is_gone() -> None:
    store = MemoryStore()
    published(store, OPENED, paid("t", 5))
    [(_, payload)] = published(store, Erasure(A))
    delta = decode_delta(A, payload)
    parts = split_delta_frame(delta.text)
    assert (delta.gone, parts.balance, parts.transfers) == (True, b"null", b"")


def test_duplicate_is_not_published() -> None:
    store = MemoryStore()
    published(store, paid("t", 5))
    assert published(store, paid("t", 5)) == []


def test_lane_far_behind_publishes_only_progress() -> None:
    folded = fold_and_write(MemoryStore(), incoming_records([paid("t", 5)], [20]))
    steps, later = [make_step(make_lane(), [], [])], Millis(SOON + 1)
    assert [*ENCODER.deltas(steps, folded, later)] == []
    [(channel, payload)] = ENCODER.progress(steps, later)
    assert channel == "live:lane:3"
    assert decode_progress(payload) == (3, EPOCH, 1000, True)
    assert decode_progress(ENCODER.progress(steps, SOON)[0][1]).behind is False


def test_lane_of_unknown_progress_publishes_nothing() -> None:
    assert ENCODER.progress([make_step(make_lane(), [], [], (BEHIND, BEHIND))], SOON) == []
