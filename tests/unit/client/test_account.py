"""How frames change the state of an account, and which frames reveal missing revisions."""

import pytest
from msgspec.structs import replace

from livebalance.client.account import MAX_TRANSFERS, Account, AlreadyApplied, MissedRevisions, apply
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import DeltaFrame, Snapshot
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.unit.client.frames import ACCOUNT, EPOCH, OTHER_EPOCH, balance, delta, snapshot, transfer


def state_at(revision: int) -> Account:
    outcome = apply(None, snapshot(revision))
    assert isinstance(outcome, Account)
    return outcome


def test_snapshot_becomes_the_state_with_the_newest_transfer_last() -> None:
    assert state_at(2) == Account(
        ACCOUNT, Position(Epoch(EPOCH), Revision(2)), balance(2), (transfer(1), transfer(2))
    )


def test_delta_at_its_from_gives_the_state_at_its_to() -> None:
    assert apply(state_at(2), delta(2, 4)) == state_at(4)


def test_page_with_more_keeps_the_balance() -> None:
    outcome = apply(state_at(2), delta(2, 3, more=True))
    assert outcome == state_at(3)._replace(balance=balance(2))


def test_delta_with_null_balance_sets_it_to_none() -> None:
    outcome = apply(state_at(2), replace(delta(2, 3), balance=None))
    assert isinstance(outcome, Account)
    assert outcome.balance is None


@pytest.mark.parametrize("frame", [delta(1, 2), delta(0, 1), delta(2, 2, transfers=[]), snapshot(2)])
def test_applied_frame_changes_nothing(frame: Snapshot | DeltaFrame) -> None:
    assert apply(state_at(2), frame) == AlreadyApplied(ACCOUNT)


@pytest.mark.parametrize(
    ("frame", "missed"),
    [
        pytest.param(delta(3, 4), (EPOCH, 3, 4), id="starts after the state"),
        pytest.param(delta(1, 4), (EPOCH, 1, 4), id="overlaps the state"),
        pytest.param(delta(2, 3, epoch=OTHER_EPOCH), (OTHER_EPOCH, 2, 3), id="another epoch"),
        pytest.param(snapshot(1), (EPOCH, 1, 1), id="goes back"),
        pytest.param(snapshot(9), (EPOCH, 9, 9), id="skips revisions without a gap"),
    ],
)
def test_frame_that_does_not_follow_the_state_misses_revisions(
    frame: Snapshot | DeltaFrame, missed: tuple[str, int, int]
) -> None:
    position = Position(Epoch(EPOCH), Revision(2))
    outcome = apply(state_at(2), frame)
    assert isinstance(outcome, MissedRevisions)
    assert outcome == (ACCOUNT, position, *missed)


def test_delta_without_a_state_misses_revisions() -> None:
    outcome = apply(None, delta(0, 1))
    assert isinstance(outcome, MissedRevisions)
    assert outcome == (ACCOUNT, None, EPOCH, 0, 1)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(snapshot(1, reason="ahead"), id="Postgres is behind"),
        pytest.param(snapshot(1, reason="epoch", epoch=OTHER_EPOCH), id="another epoch"),
        pytest.param(snapshot(9, reason="too_far", gap=(2, 9)), id="too far, with a gap"),
    ],
)
def test_snapshot_with_a_reason_replaces_the_state(frame: Snapshot) -> None:
    assert apply(state_at(2), frame) == apply(None, frame)


def test_state_keeps_at_most_max_transfers() -> None:
    outcome = apply(state_at(2), delta(2, MAX_TRANSFERS + 10))
    assert isinstance(outcome, Account)
    assert [t.revision for t in outcome.transfers] == [*range(11, MAX_TRANSFERS + 11)]


def test_frame_of_a_channel_without_account_is_rejected() -> None:
    with pytest.raises(DecodeError):
        apply(None, replace(delta(0, 1), channel="weather:paris"))


def test_account_is_that_of_the_frame() -> None:
    outcome = apply(None, replace(snapshot(1), channel="account:b"))
    assert isinstance(outcome, Account)
    assert outcome.account == AccountId("b")
