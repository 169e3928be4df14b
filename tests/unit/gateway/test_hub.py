"""Cases of the hub that the simulation (tests/simulation/gateway) does not tell apart."""

from livebalance.gateway.live.history import MAX_SNAPSHOT_AGE
from livebalance.gateway.live.hub import ACK_TIMEOUT, Hub
from livebalance.gateway.live.session import MAX_READS
from livebalance.gateway.live.sessions import Sessions
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Lane, Position, Revision
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
    assert pop_types(session) == ["ok", "error"]
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
    assert read.positions == {Position(EPOCH, Revision(7))}
