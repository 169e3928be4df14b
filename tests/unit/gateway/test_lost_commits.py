"""A read or an audit that finds less than was relayed: Postgres has lost commits."""

from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.sessions import Sessions
from livebalance.readmodel.gateway_reads import AuditFinding
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import Epoch, Lane, Position, Revision
from tests.unit.gateway.harness import ALICE, EPOCH, WALL, account_state, connect_and_subscribe, pop_frames

AT_5 = Position(EPOCH, Revision(5))


def test_read_behind_what_was_relayed_opens_a_gap_and_every_client_goes_back(
    hub: Hub, sessions: Sessions
) -> None:
    old = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(5)}, 0.0)
    pop_frames(old)
    hub.tick(10.0)  # the snapshot is too old to be sent again
    connect_and_subscribe(sessions, "alice")
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(3)}, 10.0)
    effects = hub.drain_effects()
    assert effects.opened_gaps == ["back"]
    (repair,) = effects.reads
    assert AT_5 in repair.positions
    hub.on_read(repair, dict.fromkeys(repair.positions, account_state(3)), 11.0)
    (snapshot,) = pop_frames(old)
    assert (snapshot["type"], snapshot["reason"], snapshot["revision"]) == ("snapshot", "ahead", 3)


def test_read_of_another_epoch_opens_a_gap(hub: Hub, sessions: Sessions) -> None:
    old = connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(5)}, 0.0)
    pop_frames(old)
    hub.tick(10.0)
    connect_and_subscribe(sessions, "alice")
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(9)._replace(epoch=Epoch("00000000000000b2"))}, 10.0)
    effects = hub.drain_effects()
    assert effects.opened_gaps == ["epoch"]
    assert AT_5 in effects.reads[0].positions


def test_read_that_began_before_a_delta_was_relayed_opens_no_gap(hub: Hub, sessions: Sessions) -> None:
    connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(5)}, 0.0)
    hub.tick(10.0)
    connect_and_subscribe(sessions, "alice")
    (read,) = hub.drain_effects().reads
    parts = DeltaParts(EPOCH, Revision(5), Revision(6), WALL, b"null", b"")
    hub.on_delta(ALICE, make_delta(ALICE, Lane(0), parts))
    hub.on_read(read, {None: account_state(5)}, 10.0)
    effects = hub.drain_effects()
    assert (effects.opened_gaps, effects.reads) == ([], [])


def test_audit_behind_its_question_opens_a_gap(hub: Hub, sessions: Sessions) -> None:
    connect_and_subscribe(sessions, "alice")
    hub.on_subscribed(ALICE)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(5)}, 0.0)
    hub.drain_effects()
    hub.on_audit({ALICE: AT_5}, AuditFinding(EPOCH, 1, {}, {ALICE: Revision(4)}), 1.0)
    assert hub.drain_effects().opened_gaps == ["back"]
