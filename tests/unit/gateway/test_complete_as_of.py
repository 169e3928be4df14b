"""A client learns "complete as of" only for what it was sent, in its epoch, and of every lane."""

from livebalance.gateway.live.channel import Channel, StoredPosition
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.recovery import Recovery
from livebalance.gateway.live.sessions import Sessions
from livebalance.readmodel.gateway_reads import AuditFinding, LaneProgress
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.unit.gateway.harness import EPOCH, WALL, account_state, connect_and_subscribe, pop_frames

UNKNOWN = AccountId("nobody")
AT_1, AT_2 = Position(EPOCH, Revision(1)), Position(EPOCH, Revision(2))
OTHER_AT_1 = Position(Epoch("00000000000000b2"), Revision(1))


def progress(*times: int | None) -> dict[Lane, LaneProgress]:
    return {
        Lane(lane): LaneProgress(None if at is None else Millis(at), None) for lane, at in enumerate(times)
    }


def as_of_heartbeat(hub: Hub, sessions: Sessions, lanes: dict[Lane, LaneProgress]) -> str | None:
    """Returns the `as_of` of an account without a lane, after an audit of two partitions found `lanes`."""
    session = connect_and_subscribe(sessions, UNKNOWN)
    hub.on_subscribed(UNKNOWN)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(0)._replace(lane=None, as_of=None)}, 0.0)
    hub.drain_effects()
    pop_frames(session)
    hub.on_audit(hub.positions([UNKNOWN]), AuditFinding(EPOCH, 2, lanes, {}), 1.0)
    sessions.tick(11.0, WALL)
    as_of: str | None = pop_frames(session)[-1]["as_of"]
    return as_of


def test_as_of_of_an_account_without_a_lane_is_that_of_the_oldest_lane(hub: Hub, sessions: Sessions) -> None:
    assert as_of_heartbeat(hub, sessions, progress(7000, 5000)) == format_rfc3339(Millis(5000))


def test_as_of_while_a_lane_is_missing_is_unknown(hub: Hub, sessions: Sessions) -> None:
    assert as_of_heartbeat(hub, sessions, progress(7000)) is None


def test_as_of_while_a_lane_was_never_complete_is_unknown(hub: Hub, sessions: Sessions) -> None:
    assert as_of_heartbeat(hub, sessions, progress(7000, None)) is None


def read_channel(as_of: int) -> Channel:
    """A channel at revision 1, complete as of this time."""
    channel = Channel(UNKNOWN, 0.0)
    channel.subscribed = True
    channel.request_read(None)
    channel.begin_read()
    channel.on_read({None: Recovery(AT_1, AT_1, None, Lane(0), Millis(as_of))}, 0.0)
    assert channel.as_of == as_of
    return channel


def test_as_of_does_not_outlive_its_epoch() -> None:
    for new in (None, Millis(3000)):
        channel = read_channel(5000)
        channel.expect(StoredPosition(OTHER_AT_1, None, 1.0))
        channel.begin_read()
        channel.on_read({AT_1: Recovery(OTHER_AT_1, OTHER_AT_1, None, Lane(0), new)}, 2.0)
        assert (channel.position, channel.as_of) == (OTHER_AT_1, new)


def test_as_of_of_a_revision_that_has_not_arrived_is_not_taken_over_before_it_arrives() -> None:
    channel = read_channel(5000)
    channel.on_audit(AT_1, StoredPosition(AT_2, Millis(9000), 1.0))
    assert channel.as_of == 5000
    parts = DeltaParts(EPOCH, Revision(1), Revision(2), WALL, b"null", b"")
    channel.on_delta(make_delta(UNKNOWN, Lane(0), parts))
    assert channel.as_of == 9000


def test_as_of_never_goes_back_within_an_epoch() -> None:
    channel = read_channel(5000)
    channel.on_audit(AT_1, StoredPosition(AT_1, Millis(4000), 1.0))
    channel.on_audit(AT_1, StoredPosition(AT_1, None, 2.0))
    assert channel.as_of == 5000


def test_as_of_does_not_advance_while_data_waits_for_a_low_rate(hub: Hub, sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions, UNKNOWN)
    sessions.receive(session, b'{"type":"rate","id":2,"max_per_second":0.2}', 0.0)
    hub.on_subscribed(UNKNOWN)
    (read,) = hub.drain_effects().reads
    hub.on_read(read, {None: account_state(1)}, 0.0)
    hub.drain_effects()
    pop_frames(session)  # at 0 s, so that more data is due at 5 s
    parts = DeltaParts(EPOCH, Revision(1), Revision(2), WALL, b"null", b"")
    hub.on_delta(UNKNOWN, make_delta(UNKNOWN, Lane(0), parts))
    sessions.schedule(session, 0.0)
    hub.on_audit(hub.positions([UNKNOWN]), AuditFinding(EPOCH, 1, progress(WALL + 9000), {}), 0.5)
    sessions.flushed(sessions.flush_due(1.0))
    sessions.schedule(session, 1.0)
    sessions.flushed(sessions.flush_due(5.0))  # withheld: nothing is written, and what waits may be dropped
    assert session.subscriptions[UNKNOWN].as_of != WALL + 9000
    sessions.schedule(session, 5.0)
    due = sessions.flush_due(6.0)
    session.outbox.pop(6.0)
    sessions.flushed(due)
    assert session.subscriptions[UNKNOWN].as_of == WALL + 9000
