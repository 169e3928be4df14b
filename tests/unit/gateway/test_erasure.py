"""An account that was erased and lives again: no client keeps what it showed before the erasure."""

import pytest

from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.recovery import recover
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import Sessions
from livebalance.readmodel.gateway_reads import AccountQuery, AccountState, AuditFinding
from livebalance.wire.delta import Delta, DeltaParts, make_delta
from livebalance.wire.identity import Epoch, Lane, Position, Revision
from tests.unit.gateway.harness import (
    ALICE,
    EPOCH,
    WALL,
    account_state,
    connect,
    connect_and_subscribe,
    pop_frames,
    subscribe,
)

ERASED_AT = 4
OTHER_EPOCH = Epoch("00000000000000b2")


def position(revision: int) -> Position:
    return Position(EPOCH, Revision(revision))


def delta(from_: int, to: int, *, gone: bool = False) -> Delta:
    parts = DeltaParts(EPOCH, Revision(from_), Revision(to), WALL, b"null", b"")
    return make_delta(ALICE, Lane(0), parts, gone=gone)


def state(revision: int, after: int | None = None) -> AccountState:
    """What Postgres has of the account, which was erased at `ERASED_AT`, for a client at `after`."""
    return account_state(revision)._replace(
        erased=revision == ERASED_AT,
        erased_revision=Revision(ERASED_AT),
        continues=after is not None and after >= ERASED_AT,
    )


def shown(hub: Hub, sessions: Sessions, revision: int) -> Session:
    """Returns a client that is sent the account at this revision, and follows it."""
    client = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(revision)}, 0.0)
    hub.drain_effects()
    pop_frames(client)
    return client


def test_recovery_from_before_an_erasure_is_a_snapshot_that_replaces_the_state() -> None:
    recovery = recover(AccountQuery(ALICE, position(3)), state(5, after=3))
    assert recovery.frame is not None
    assert (recovery.frame.event, recovery.reached) == (("snapshot", "ahead"), position(5))


def test_recovery_from_the_erasure_on_is_a_page() -> None:
    recovery = recover(AccountQuery(ALICE, position(ERASED_AT)), state(5, after=ERASED_AT))
    assert recovery.frame is not None
    assert recovery.frame.mergeable


@pytest.mark.parametrize("after", [1, 3])
def test_recovery_of_an_erased_account_is_its_end(after: int) -> None:
    recovery = recover(AccountQuery(ALICE, position(after)), state(ERASED_AT, after))
    assert recovery.frame is not None
    assert recovery.frame.is_last


@pytest.mark.parametrize(
    "after",
    [None, position(ERASED_AT + 1), Position(OTHER_EPOCH, Revision(1))],
    ids=["none", "ahead", "epoch"],
)
def test_recovery_of_an_erased_account_from_elsewhere_is_a_snapshot(after: Position | None) -> None:
    recovery = recover(AccountQuery(ALICE, after), state(ERASED_AT))
    assert recovery.frame is not None
    assert not recovery.frame.is_last


def test_recovery_at_the_erasure_is_nothing() -> None:
    at_erasure = recover(AccountQuery(ALICE, position(ERASED_AT)), state(ERASED_AT, after=ERASED_AT))
    assert at_erasure.frame is None


def test_recovery_far_behind_replaces_only_what_was_erased() -> None:
    reasons = [
        recovery.frame and recovery.frame.event and recovery.frame.event.reason
        for after in (ERASED_AT - 1, ERASED_AT, ERASED_AT + 1)
        if (recovery := recover(AccountQuery(ALICE, position(after)), state(9)))
    ]
    assert reasons == ["ahead", "too_far", "too_far"]


def test_audit_beyond_a_missed_erasure_sends_clients_a_snapshot(hub: Hub, sessions: Sessions) -> None:
    client = shown(hub, sessions, 3)
    hub.on_audit({ALICE: position(3)}, AuditFinding(EPOCH, 1, {}, {ALICE: Revision(5)}), 1.0)
    hub.tick(2.0)
    (repair,) = hub.drain_effects().reads
    hub.on_read(repair, {position(3): state(5, after=3)}, 2.0)
    (snapshot,) = pop_frames(client)
    assert (snapshot["type"], snapshot["reason"], snapshot["revision"]) == ("snapshot", "ahead", 5)
    hub.on_delta(ALICE, delta(5, 6))
    assert [frame["from"] for frame in pop_frames(client)] == [5]


def test_delta_after_a_missed_erasure_sends_clients_a_snapshot(hub: Hub, sessions: Sessions) -> None:
    client = shown(hub, sessions, 3)
    hub.on_delta(ALICE, delta(ERASED_AT, 5))
    (repair,) = hub.drain_effects().reads
    hub.on_read(repair, {position(3): state(5, after=3)}, 2.0)
    (snapshot,) = pop_frames(client)
    assert (snapshot["type"], snapshot["reason"]) == ("snapshot", "ahead")


def test_history_does_not_lead_across_an_erasure(hub: Hub, sessions: Sessions) -> None:
    shown(hub, sessions, 2)
    hub.on_delta(ALICE, delta(2, 3))
    hub.on_delta(ALICE, delta(3, ERASED_AT, gone=True))
    (end,) = hub.drain_effects().reads
    hub.on_read(end, {position(3): state(ERASED_AT, after=3)}, 0.0)
    shown(hub, sessions, ERASED_AT)
    hub.on_delta(ALICE, delta(ERASED_AT, 5))
    late = connect(sessions)
    pop_frames(late)
    sessions.receive(late, subscribe("alice", revision=2), 0.0)
    (read,) = hub.drain_effects().reads
    assert read.positions == {position(2)}
    assert [frame["type"] for frame in pop_frames(late)] == ["ok"]
