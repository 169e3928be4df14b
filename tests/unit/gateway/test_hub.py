"""Cases of the hub that the simulation (tests/simulation/gateway) does not tell apart."""

from livebalance.gateway.live.channel import Channel
from livebalance.gateway.live.history import MAX_SNAPSHOT_AGE
from livebalance.gateway.live.hub import ACK_TIMEOUT, OVERDUE_AFTER, RETRY_AFTER_MS, Hub
from livebalance.gateway.live.session import MAX_READS
from livebalance.gateway.live.sessions import Sessions
from livebalance.readmodel.gateway_reads import AuditFinding, LaneProgress
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Lane, Position, Revision
from livebalance.wire.timestamp import Millis
from tests.unit.gateway.harness import (
    ALICE,
    EPOCH,
    WALL,
    account_state,
    connect,
    connect_and_subscribe,
    pop_frames,
    pop_types,
    subscribe,
)


def at(revision: int) -> Position:
    return Position(EPOCH, Revision(revision))


def test_read_waits_for_the_acknowledgement_of_redis(hub: Hub, sessions: Sessions) -> None:
    connect_and_subscribe(sessions, "alice")
    effects = hub.drain_effects()
    assert (effects.redis_subscriptions, effects.reads) == ({ALICE: True}, [])
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    assert (read.account, read.positions) == (ALICE, frozenset({None}))


def test_read_is_shared_by_clients_that_subscribe_while_it_runs(hub: Hub, sessions: Sessions) -> None:
    first = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    second = connect_and_subscribe(sessions, "alice")
    assert not hub.drain_effects().reads
    hub.on_read(read, {None: account_state()}, 0.0)
    assert pop_types(first) == ["ok", "snapshot"]
    assert pop_types(second) == ["ok", "snapshot"]


def test_read_for_clients_that_left_does_not_answer_clients_that_came_later(
    hub: Hub, sessions: Sessions
) -> None:
    first = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (outdated,) = hub.drain_effects().reads
    sessions.disconnect(first)
    assert hub.drain_effects().redis_subscriptions == {ALICE: False}
    second = connect_and_subscribe(sessions, "alice")
    hub.drain_effects()
    hub.on_read(outdated, {None: account_state()}, 0.0)
    assert pop_types(second) == ["ok"]


def test_failed_read_rejects_new_subscriptions_and_keeps_the_others(hub: Hub, sessions: Sessions) -> None:
    old = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state()}, 0.0)
    pop_frames(old)
    hub.tick(MAX_SNAPSHOT_AGE + 1)
    new = connect_and_subscribe(sessions, "alice")
    (read,) = hub.drain_effects().reads
    hub.on_read_failed(read, 700)
    _, error = pop_frames(new)
    assert (error["code"], error["channel"], error["retry_after_ms"]) == ("unavailable", "account:alice", 700)
    assert pop_frames(old) == []
    assert old.subscriptions
    assert not new.subscriptions


def test_client_at_a_position_of_the_history_recovers_without_a_read(hub: Hub, sessions: Sessions) -> None:
    connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(1)}, 0.0)
    for revision in (1, 3):
        parts = DeltaParts(EPOCH, Revision(revision), Revision(revision + 2), WALL, b"null", b"")
        hub.on_delta(ALICE, make_delta(ALICE, Lane(0), parts))
    new = connect_and_subscribe(sessions, "alice")
    assert not hub.drain_effects().reads
    assert pop_types(new) == ["ok", "snapshot", "delta", "delta"]
    resuming = connect(sessions, "resuming")
    pop_frames(resuming)
    sessions.receive(resuming, subscribe("alice", revision=3), 0.0)
    sessions.receive(resuming, subscribe("alice", revision=3), 0.0)
    assert not hub.drain_effects().reads
    frames = pop_frames(resuming)
    assert [(frame["type"], frame.get("from")) for frame in frames] == [
        ("ok", None),
        ("ok", None),
        ("delta", 3),
    ]
    inside_a_delta = connect(sessions, "inside a delta")
    sessions.receive(inside_a_delta, subscribe("alice", revision=2), 0.0)
    assert len(hub.drain_effects().reads) == 1


def test_client_that_waits_too_long_for_redis_is_rejected(hub: Hub, sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions, "alice")
    hub.drain_effects()
    hub.tick(ACK_TIMEOUT - 1)
    assert session.subscriptions
    hub.tick(ACK_TIMEOUT + 1)
    _, error = pop_frames(session)
    assert (error["code"], error["retry_after_ms"]) == ("unavailable", RETRY_AFTER_MS)
    assert hub.drain_effects().redis_subscriptions == {ALICE: False}


def test_reads_of_one_session_at_once_are_limited(hub: Hub, sessions: Sessions) -> None:
    accounts = [f"a-{number}" for number in range(40)]
    connect_and_subscribe(sessions, *accounts)
    for account in accounts:
        hub.on_subscribed(AccountId(account))
    reads = hub.drain_effects().reads
    assert len(reads) == MAX_READS
    for read in reads:
        hub.on_read(read, {None: account_state()}, 0.0)
    assert len(hub.drain_effects().reads) == MAX_READS


def test_session_that_is_not_writable_is_not_read_for(hub: Hub, sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions, "alice")
    sessions.set_writable(session, False)
    hub.on_subscribed(ALICE)
    assert not hub.drain_effects().reads
    sessions.set_writable(session, True)
    assert len(hub.drain_effects().reads) == 1


def test_resuming_client_is_read_for_from_its_position(hub: Hub, sessions: Sessions) -> None:
    sessions.receive(connect(sessions), subscribe("alice", revision=7), 0.0)
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    assert read.positions == {at(7)}


def read_accounts(hub: Hub, sessions: Sessions, *names: str) -> list[Channel]:
    """Subscribes a client, and reads each account at revision 1, in lanes 0, 1 and so on."""
    connect_and_subscribe(sessions, *names)
    for name in names:
        hub.on_subscribed(AccountId(name))
    lanes = {name: Lane(number) for number, name in enumerate(names)}
    for read in hub.drain_effects().reads:
        hub.on_read(read, {None: account_state()._replace(lane=lanes[read.account], as_of=None)}, 0.0)
    hub.drain_effects()
    return [hub.subscribers[AccountId(name)].channel for name in names]


def audit(hub: Hub, asked: list[str], now: float = 1.0, **revisions: int) -> None:
    """An audit in which lane 0 is complete as of 700, lane 1 as of 900."""
    lanes = {Lane(0): LaneProgress(Millis(700), None), Lane(1): LaneProgress(Millis(900), None)}
    found = {AccountId(name): Revision(revision) for name, revision in revisions.items()}
    hub.on_audit({AccountId(name): at(1) for name in asked}, AuditFinding(EPOCH, 2, lanes, found), now)


def test_audit_makes_each_account_complete_as_of_its_own_lane(hub: Hub, sessions: Sessions) -> None:
    alice, bob = read_accounts(hub, sessions, "alice", "bob")
    audit(hub, ["left", "alice", "bob"])  # the clients of an account have left meanwhile
    assert (alice.as_of, bob.as_of) == (700, 900)
    alice.lane = None
    alice.as_of = None
    audit(hub, ["alice"])
    assert hub.subscribers[ALICE].channel.as_of == 700  # of the oldest lane
    assert hub.epoch == EPOCH


def test_audit_that_finds_the_epoch_first_sets_it(hub: Hub) -> None:
    audit(hub, [])
    assert hub.epoch == EPOCH


def test_revision_that_an_audit_found_is_read_once_it_is_overdue(hub: Hub, sessions: Sessions) -> None:
    [channel] = read_accounts(hub, sessions, "alice")
    audit(hub, ["alice"], now=5.0, alice=2)
    hub.tick(5.0 + OVERDUE_AFTER - 0.01)
    assert not hub.drain_effects().reads
    assert list(hub._expecting) == [hub.subscribers[ALICE]]
    hub.tick(5.0 + OVERDUE_AFTER + 0.01)
    (read,) = hub.drain_effects().reads
    assert read.positions == {at(1)}
    assert channel.has_gap
    assert not list(hub._expecting)


def test_revision_that_arrived_is_not_expected_any_more(hub: Hub, sessions: Sessions) -> None:
    read_accounts(hub, sessions, "alice")
    audit(hub, ["alice"], now=5.0, alice=2)
    parts = DeltaParts(EPOCH, Revision(1), Revision(2), WALL, b"null", b"")
    hub.on_delta(ALICE, make_delta(ALICE, Lane(0), parts))
    hub.tick(5.1)
    assert not list(hub._expecting)
    hub.tick(99.0)
    assert not hub.drain_effects().reads


def test_client_that_waits_as_long_as_it_may_for_redis_is_not_rejected(hub: Hub, sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions, "alice")
    hub.drain_effects()
    hub.tick(ACK_TIMEOUT)
    assert session.subscriptions


def test_failure_of_an_outdated_read_rejects_nobody(hub: Hub, sessions: Sessions) -> None:
    first = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (outdated,) = hub.drain_effects().reads
    sessions.disconnect(first)
    hub.on_read_failed(outdated, 700)
    second = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read_failed(outdated, 700)
    assert second.subscriptions
    hub.on_read_failed(read, 700)
    assert not second.subscriptions


def test_nothing_is_watched_of_an_account_without_subscribers(hub: Hub, sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions, "alice")
    assert len(list(hub._unacknowledged)) == 1
    hub.on_subscribed(ALICE)
    assert list(hub._unacknowledged) == []
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state()}, 0.0)
    audit(hub, ["alice"], alice=2)
    hub.effects.subscribers_to_read.add(hub.subscribers[ALICE])
    assert len(list(hub._expecting)) == 1
    sessions.disconnect(session)
    assert list(hub._expecting) == list(hub.effects.subscribers_to_read) == []
    sessions.disconnect(connect_and_subscribe(sessions, "alice"))
    assert list(hub._unacknowledged) == []


def test_account_without_a_position_is_not_audited(hub: Hub, sessions: Sessions) -> None:
    read_accounts(hub, sessions, "alice")
    connect_and_subscribe(sessions, "bob")
    assert hub.positions([ALICE, AccountId("bob"), AccountId("left")]) == {ALICE: at(1)}
    parts = DeltaParts(EPOCH, Revision(1), Revision(2), WALL, b"null", b"")
    hub.on_delta(ALICE, make_delta(ALICE, Lane(0), parts))
    hub.subscribers[ALICE].disown_content()
    assert hub.positions([ALICE]) == {}


def test_client_ahead_of_what_an_audit_found_is_read_for_again(hub: Hub, sessions: Sessions) -> None:
    read_accounts(hub, sessions, "alice")
    hub.tick(MAX_SNAPSHOT_AGE + 1)
    connect_and_subscribe(sessions, "alice")
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(5)}, 0.0)
    assert not hub.drain_effects().reads
    audit(hub, ["alice"], alice=5)
    assert not hub.drain_effects().reads
    audit(hub, ["alice"], alice=4)
    (read,) = hub.drain_effects().reads
    assert read.positions == {at(5)}


def test_revision_that_a_read_found_is_read_for_all_once_it_is_overdue(hub: Hub, sessions: Sessions) -> None:
    read_accounts(hub, sessions, "alice")
    hub.tick(MAX_SNAPSHOT_AGE + 1)
    connect_and_subscribe(sessions, "alice")
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(5)}, 20.0)
    hub.tick(20.0 + OVERDUE_AFTER - 0.01)
    assert not hub.drain_effects().reads
    hub.tick(20.0 + OVERDUE_AFTER + 0.01)
    (read,) = hub.drain_effects().reads
    assert read.positions == {at(1)}
