"""One account: which frames make a next state, and which show that something is missing."""

import pytest
from msgspec.structs import replace

from livebalance.client.account import KEPT, Account, AlreadyApplied, MissedRevisions, apply
from livebalance.wire.errors import DecodeError
from livebalance.wire.frame import DeltaFrame, Snapshot
from livebalance.wire.identity import AccountId, Epoch, Position, Revision
from tests.unit.client.frames import ACCOUNT, EPOCH, OTHER, balance, delta, snapshot, transfer


def at(revision: int) -> Account:
    found = apply(None, snapshot(revision))
    assert isinstance(found, Account)
    return found


def test_a_snapshot_is_the_whole_state_the_newest_transfer_last() -> None:
    assert at(2) == Account(
        ACCOUNT, Position(Epoch(EPOCH), Revision(2)), balance(2), (transfer(1), transfer(2))
    )


def test_a_delta_at_its_from_makes_the_state_at_its_to() -> None:
    assert apply(at(2), delta(2, 4)) == at(4)


def test_a_page_with_more_to_come_leaves_the_balance_as_it_was() -> None:
    found = apply(at(2), delta(2, 3, more=True))
    assert found == at(3)._replace(balance=balance(2))


def test_a_balance_may_become_null() -> None:
    found = apply(at(2), replace(delta(2, 3), balance=None))
    assert isinstance(found, Account)
    assert found.balance is None


@pytest.mark.parametrize("frame", [delta(1, 2), delta(0, 1), delta(2, 2, transfers=[]), snapshot(2)])
def test_what_is_held_already_changes_nothing(frame: Snapshot | DeltaFrame) -> None:
    assert apply(at(2), frame) == AlreadyApplied(ACCOUNT)


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(delta(3, 4), id="starts after what is held"),
        pytest.param(delta(1, 4), id="overlaps what is held"),
        pytest.param(delta(2, 3, epoch=OTHER), id="is of another epoch"),
        pytest.param(snapshot(1), id="goes back"),
        pytest.param(snapshot(9), id="skips, and names no gap"),
    ],
)
def test_what_does_not_follow_is_a_hole(frame: Snapshot | DeltaFrame) -> None:
    found = apply(at(2), frame)
    assert isinstance(found, MissedRevisions)
    assert found.held == Position(Epoch(EPOCH), Revision(2))


def test_a_delta_without_a_state_is_a_hole() -> None:
    found = apply(None, delta(0, 1))
    assert isinstance(found, MissedRevisions)
    assert found.held is None


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(snapshot(1, reason="ahead"), id="the truth is behind"),
        pytest.param(snapshot(1, reason="epoch", epoch=OTHER), id="another epoch has no order to ours"),
        pytest.param(snapshot(9, reason="too_far", gap=(2, 9)), id="too far, with a gap"),
    ],
)
def test_a_snapshot_with_its_reason_replaces_the_state(frame: Snapshot) -> None:
    assert apply(at(2), frame) == apply(None, frame)


def test_no_more_transfers_are_held_than_the_bound_says() -> None:
    found = apply(at(2), delta(2, KEPT + 10))
    assert isinstance(found, Account)
    assert [t.revision for t in found.transfers] == [*range(11, KEPT + 11)]


def test_a_channel_that_is_not_an_accounts_is_refused() -> None:
    with pytest.raises(DecodeError):
        apply(None, replace(delta(0, 1), channel="weather:paris"))


def test_accounts_are_told_apart_by_the_frame() -> None:
    found = apply(None, replace(snapshot(1), channel="account:b"))
    assert isinstance(found, Account)
    assert found.account == AccountId("b")
