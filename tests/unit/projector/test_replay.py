"""Content becomes of a record that comes out of quarantine, after others were applied."""

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
from livebalance.projector.fold.records import Content, Erasure, Rejected, decode_quarantined
from livebalance.readmodel.rows import ReplayOutcome
from livebalance.runtime.schema.file_registry import FileRegistry
from livebalance.wire.kafka.codec import ConfluentCodec
from tests.unit.projector.histories import Raw, arrived, numbered
from tests.unit.projector.shelf import Shelf
from tests.unit.projector.test_fold import A, moved, one, shows
from tests.unit.projector.test_records import of_balance, of_transfer

CODEC = ConfluentCodec(FileRegistry())


def late(shelf: Shelf, *records: Content, at: int = 1) -> tuple[FoldResult, list[ReplayOutcome]]:
    """Their offsets and their times are before those of all others."""
    batch = [arrived(what, offset, at) for offset, what in enumerate(records)]
    folded, outcomes = replay(batch, shelf.accounts(), shelf.listed())
    shelf.write(batch_rows([], folded, "EUR"))
    return folded, outcomes


def test_what_a_balance_waits_for_is_applied_as_if_it_had_come_in_time() -> None:
    _, shelf = one(shows(0, "", 0), shows(1, "t", 50))
    assert late(shelf, moved("t", 50))[1] == [ReplayOutcome("applied")]
    row = shelf.balances[A]
    assert (row.revision, row.posted_total, row.half_applied, row.drift) == (3, "0.50", "0.00", "0.00")
    assert (row.unverified_since, row.disputed_since) == (None, None)


def test_nothing_goes_backwards() -> None:
    _, shelf = one(shows(0, "", 0), moved("u", 7), moved("v", 8))
    before = shelf.balances[A]
    folded, outcomes = late(shelf, moved("t", 50), shows(2, "v", 65))
    row, listed = shelf.balances[A], shelf.transfers[-1]
    assert outcomes == [ReplayOutcome("applied")] * 2
    assert (row.transfers_offset, row.balances_offset) == (before.transfers_offset, 1)
    assert (row.recorded_at, listed.recorded_at) == (before.recorded_at, before.recorded_at)
    assert (listed.source_offset, listed.revision, listed.total) == (0, 4, "0.65")
    assert (folded.changes[A].from_, row.revision) == (3, 5)


def test_drift_of_what_was_missing_ends_with_the_next_transfer() -> None:
    """The list has it later than the balances do; that they were apart stays on the row."""
    _, shelf = one(shows(0, "", 0), moved("u", 7), shows(2, "u", 57))
    assert shelf.balances[A].drift == "0.50"
    late(shelf, moved("t", 50))
    for what in (moved("v", 1), shows(3, "v", 58)):
        late(shelf, what)
    assert (shelf.balances[A].drift, shelf.balances[A].half_applied) == ("0.00", "0.00")
    assert shelf.balances[A].disputed_why == DRIFT


def test_what_is_there_is_a_duplicate() -> None:
    _, shelf = one(shows(0, "", 0), moved("t", 1), shows(1, "t", 1))
    folded, outcomes = late(shelf, moved("t", 1), shows(1, "t", 1), moved("u", 1), moved("u", 1))
    assert [outcome.state for outcome in outcomes] == ["duplicate", "duplicate", "applied", "duplicate"]
    assert (folded.applied, folded.duplicates, folded.quarantined) == (1, 3, [])


def test_an_older_balance_does_nothing() -> None:
    _, shelf = one(shows(0, "", 0), moved("u", 7), shows(2, "u", 7))
    before = shelf.balances[A]
    assert late(shelf, shows(1, "t", 3))[1] == [ReplayOutcome("stale")]
    assert shelf.balances[A] == before
    assert late(shelf, shows(2, "u", 9))[1] == [ReplayOutcome("stale")]
    assert shelf.balances[A].disputed_why == OTHER_BALANCE


def test_the_first_of_two_with_one_id_wins() -> None:
    _, shelf = one(shows(0, "", 0), moved("t", 1))
    folded, outcomes = late(shelf, moved("t", 2), Rejected("bad"))
    assert outcomes == [ReplayOutcome("held", OTHER_TRANSFER), ReplayOutcome("held", "bad")]
    assert folded.quarantined == []
    assert (shelf.balances[A].posted_total, shelf.balances[A].disputed_why) == ("0.01", OTHER_TRANSFER)


@pytest.mark.parametrize("good", [of_transfer(5, 10), of_balance(7, 15)])
def test_it_is_read_as_it_would_be_if_it_came_now(good: Raw) -> None:
    found = decode_quarantined(good, "transfers", "account-balances", CODEC)
    assert (found.offset, found.at, found.lane) == (good.offset, good.timestamp, good.partition)
    assert not isinstance(found.content, Rejected)
    elsewhere = decode_quarantined(good._replace(topic="of-before"), "transfers", "account-balances", CODEC)
    assert elsewhere.content == Rejected("this topic is no longer read")
    assert decode_quarantined(
        good._replace(value=None), "transfers", "account-balances", CODEC
    ).content == Rejected("no value")
    assert isinstance(
        decode_quarantined(good._replace(value=b"?"), "transfers", "account-balances", CODEC).content,
        Rejected,
    )


def test_what_was_put_aside_before_an_erasure_goes_with_it() -> None:
    batch = numbered([Rejected("before"), moved("t", 1), Erasure(A), Rejected("after")], [1, 2, 3, 4])
    batch[0] = batch[0]._replace(raw=Raw(key=b"a"))
    assert [row.state for row in fold(batch, {}, {}).quarantined] == ["erased", "held"]
    batch[0] = batch[0]._replace(raw=Raw(key=b"b"))
    assert [row.state for row in fold(batch, {}, {}).quarantined] == ["held", "held"]
