"""Replay of quarantined records, after records of higher offsets were applied."""

import pytest

from livebalance.projector.fold.account import DRIFT
from livebalance.projector.fold.fold import (
    OTHER_BALANCE,
    OTHER_TRANSFER,
    FoldResult,
    batch_rows,
    fold,
    replay,
)
from livebalance.projector.fold.records import Content, Incoming, decode_quarantined
from livebalance.readmodel.rows import ReplayOutcome
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.wire.kafka.codec import ConfluentCodec
from livebalance.wire.kafka.raw_record import Erasure, RawRecord, Rejected
from tests.unit.projector.histories import incoming, incoming_records, raw_record
from tests.unit.projector.memory_store import MemoryStore
from tests.unit.projector.test_fold import A, balance, fold_records, transfer
from tests.unit.projector.test_records import balance_record, transfer_record

CODEC = ConfluentCodec(FileRegistry())


def replay_into(store: MemoryStore, *records: Content, at: int = 1) -> tuple[FoldResult, list[ReplayOutcome]]:
    """Replays records whose offsets and times are lower than those of the stored records."""
    batch = [incoming(content, offset, at) for offset, content in enumerate(records)]
    folded, outcomes = replay(batch, store.accounts(), store.listed())
    store.write(batch_rows([], folded, "EUR"))
    return folded, outcomes


def test_replayed_transfer_verifies_the_balance_that_names_it() -> None:
    _, store = fold_records(balance(0, "", 0), balance(1, "t", 50))
    assert replay_into(store, transfer("t", 50))[1] == [ReplayOutcome("applied")]
    row = store.balances[A]
    assert (row.revision, row.posted_total, row.half_applied, row.drift) == (3, "0.50", "0.00", "0.00")
    assert (row.unverified_since, row.disputed_since) == (None, None)


def test_replay_never_lowers_offsets_or_times() -> None:
    _, store = fold_records(balance(0, "", 0), transfer("u", 7), transfer("v", 8))
    before = store.balances[A]
    folded, outcomes = replay_into(store, transfer("t", 50), balance(2, "v", 65))
    row, listed = store.balances[A], store.transfers[-1]
    assert outcomes == [ReplayOutcome("applied")] * 2
    assert (row.transfers_offset, row.balances_offset) == (before.transfers_offset, 1)
    assert (row.recorded_at, listed.recorded_at) == (before.recorded_at, before.recorded_at)
    assert (listed.source_offset, listed.revision, listed.total) == (0, 4, "0.65")
    assert (folded.changes[A].from_, row.revision) == (3, 5)


def test_replay_of_a_newer_balance_keeps_the_highest_offset() -> None:
    _, store = fold_records(transfer("t", 1), transfer("u", 1), balance(1, "t", 1))
    replay_into(store, balance(2, "u", 2))
    assert (store.balances[A].version, store.balances[A].balances_offset) == (2, 2)


def test_drift_by_a_missing_transfer_ends_with_the_next_transfer() -> None:
    """The replayed transfer is listed after later transfers. The account stays disputed."""
    _, store = fold_records(balance(0, "", 0), transfer("u", 7), balance(2, "u", 57))
    assert store.balances[A].drift == "0.50"
    replay_into(store, transfer("t", 50))
    for record in (transfer("v", 1), balance(3, "v", 58)):
        replay_into(store, record)
    assert (store.balances[A].drift, store.balances[A].half_applied) == ("0.00", "0.00")
    assert store.balances[A].disputed_why == DRIFT


def test_replay_of_applied_records_is_a_duplicate() -> None:
    _, store = fold_records(balance(0, "", 0), transfer("t", 1), balance(1, "t", 1))
    folded, outcomes = replay_into(
        store, transfer("t", 1), balance(1, "t", 1), transfer("u", 1), transfer("u", 1)
    )
    assert [outcome.state for outcome in outcomes] == ["duplicate", "duplicate", "applied", "duplicate"]
    assert (folded.applied, folded.duplicates, folded.quarantined) == (1, 3, [])


def test_replay_of_older_balance_is_stale() -> None:
    _, store = fold_records(balance(0, "", 0), transfer("u", 7), balance(2, "u", 7))
    before = store.balances[A]
    assert replay_into(store, balance(1, "t", 3))[1] == [ReplayOutcome("stale")]
    assert store.balances[A] == before
    assert replay_into(store, balance(2, "u", 9))[1] == [ReplayOutcome("stale")]
    assert store.balances[A].disputed_why == OTHER_BALANCE


def test_replay_of_another_transfer_with_the_same_id_is_held() -> None:
    _, store = fold_records(balance(0, "", 0), transfer("t", 1))
    folded, outcomes = replay_into(store, transfer("t", 2), Rejected("bad"))
    assert outcomes == [ReplayOutcome("held", OTHER_TRANSFER), ReplayOutcome("held", "bad")]
    assert folded.quarantined == []
    assert (store.balances[A].posted_total, store.balances[A].disputed_why) == ("0.01", OTHER_TRANSFER)


def decode(raw: RawRecord) -> Incoming:
    return decode_quarantined(raw, "transfers", "account-balances", CODEC)


@pytest.mark.parametrize("good", [transfer_record(5, 10), balance_record(7, 15)])
def test_quarantined_record_is_decoded_as_if_it_had_just_arrived(good: RawRecord) -> None:
    record = decode(good)
    assert (record.offset, record.at, record.lane) == (good.offset, good.timestamp, good.partition)
    assert not isinstance(record.content, Rejected)
    former_topic = decode(good._replace(topic="former-topic"))
    assert former_topic.content == Rejected("records of this topic are not replayed")
    assert decode(good._replace(value=None)).content == Rejected("no value")
    assert isinstance(decode(good._replace(value=b"?")).content, Rejected)


def test_quarantined_record_of_a_larger_scale_is_rejected() -> None:
    record = decode_quarantined(transfer_record(), "transfers", "account-balances", CODEC, max_scale=1)
    assert isinstance(record.content, Rejected)


def test_erasure_erases_earlier_quarantined_records_of_the_account() -> None:
    batch = incoming_records(
        [Rejected("before"), transfer("t", 1), Erasure(A), Rejected("after")], [1, 2, 3, 4]
    )
    batch[0] = batch[0]._replace(raw=raw_record(key=b"a"))
    assert [row.state for row in fold(batch, {}, {}).quarantined] == ["erased", "held"]
    batch[0] = batch[0]._replace(raw=raw_record(key=b"b"))
    assert [row.state for row in fold(batch, {}, {}).quarantined] == ["held", "held"]
