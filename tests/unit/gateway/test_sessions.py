from collections import Counter
from dataclasses import dataclass, field

from msgspec import json

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import parse_scope
from livebalance.gateway.limits.connections import MAX_STRIKES
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import AGE_GRACE, AGE_SPREAD, AGED, MAX_CONTROL_MESSAGES, Sessions
from livebalance.wire.close import CloseCode
from livebalance.wire.frame import Status
from tests.unit.gateway.harness import (
    CONFIG,
    WALL,
    account_state,
    connect,
    connect_and_subscribe,
    pop_frames,
    pop_types,
    rights,
    subscribe,
    unsubscribe,
)

PING = b'{"type":"ping","id":1}'
MAX_AGE = 100.0


def test_new_session_gets_the_welcome_and_the_status(sessions: Sessions) -> None:
    sessions.set_status(Status("live", "2026-11-24T17:20:00.000Z"))
    welcome, status = pop_frames(connect(sessions, "s-1"))
    assert (welcome["session"], welcome["gateway"], welcome["epoch"]) == ("s-1", "gateway-1", None)
    assert status["state"] == "live"


# --- limits


def test_client_over_its_rate_is_warned_then_closed_then_closed_for_good(
    hub: Hub, sessions: Sessions
) -> None:
    for number in range(MAX_STRIKES):
        session = connect(sessions, f"s-{number}")
        pop_frames(session)
        for _ in range(30):
            sessions.receive(session, PING, 0.0)
        assert pop_types(session) == ["ok"] * 30
        for _ in range(10):
            sessions.receive(session, PING, 0.0)
        warnings = pop_frames(session)
        assert {(error["code"], error["temporary"]) for error in warnings} == {("rate_limited", True)}
        assert all(100 <= error["retry_after_ms"] <= 101 for error in warnings)
        assert not hub.drain_effects().disconnects
        sessions.receive(session, PING, 0.0)
        [(closed, disconnect)] = hub.drain_effects().disconnects
        assert closed is session
        is_last = number == MAX_STRIKES - 1
        assert disconnect.code is (CloseCode.ABUSE if is_last else CloseCode.BUSY)
        assert is_last or disconnect.retry_after_ms
    other = connect(sessions, address="10.0.0.2")
    sessions.receive(other, PING, 0.0)
    assert pop_types(other)[-1] == "ok"


def test_client_at_its_rate_is_not_warned(sessions: Sessions) -> None:
    session = connect(sessions)
    pop_frames(session)
    for number in range(1000):
        sessions.receive(session, PING, number / 10)
    assert pop_types(session) == ["ok"] * 1000


def test_client_with_too_many_errors_is_closed(hub: Hub, sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions)
    disconnects, errors = hub.drain_effects().disconnects, 0
    while not disconnects:
        errors += 1
        sessions.receive(session, b'{"type":"hello"}', errors / 10)
        disconnects = hub.drain_effects().disconnects
    assert [disconnect.code for _, disconnect in disconnects] == [CloseCode.BUSY]
    assert errors == 55  # 50 at once, and those allowed in the meantime


def test_accounts_without_access_are_one_error_of_their_message(hub: Hub, sessions: Sessions) -> None:
    """A list of accounts that a colleague has sent may name a hundred of them."""
    session = sessions.connect("s", "10.0.0.1", 0.0)
    sessions.authorize(session, None, rights("me")._replace(scope=parse_scope(["mine"])), 0.0, WALL)
    for number in range(51):
        pop_frames(session)
        others = [f"other-{index}" for index in range(100)]
        sessions.receive(session, subscribe("mine", *others), number * 2.0)
        codes = Counter(frame.get("code", frame["type"]) for frame in pop_frames(session))
        assert codes == {"no_access": 100, "ok": 1}
    assert "mine" in session.subscriptions
    assert not hub.drain_effects().disconnects


def test_client_with_a_rate_gets_all_its_accounts_with_one_read_of_each(hub: Hub, sessions: Sessions) -> None:
    """Together their states are more than may wait for the rate."""
    session, accounts = connect(sessions), [f"a-{index}" for index in range(16)]
    pop_frames(session)
    sessions.receive(session, b'{"type":"rate","id":1,"max_per_second":1}', 0.0)
    sessions.receive(session, subscribe(*accounts), 0.0)
    reads, snapshots, now = 0, 0, 0.0
    while snapshots < len(accounts):
        effects = hub.drain_effects()
        for account in effects.redis_subscriptions:
            hub.on_subscribed(account)
        for read in effects.reads:
            reads += 1
            hub.on_read(read, dict.fromkeys(read.positions, account_state()), now)
        texts = [frame if isinstance(frame, bytes) else frame.text for frame in session.outbox.pop(now)]
        snapshots += sum(b'"snapshot"' in text for text in texts)
        now += 0.1
        assert reads <= len(accounts)
        assert now < 10


def test_client_that_subscribes_too_often_is_warned(sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions)
    for number in range(3):
        accounts = [f"a-{number}-{index}" for index in range(100)]
        pop_frames(session)
        sessions.receive(session, subscribe(*accounts), 0.0)
        sessions.receive(session, unsubscribe(*accounts), 0.0)
    error, _ = pop_frames(session)
    assert (error["code"], error["id"], error["temporary"]) == ("rate_limited", 1, True)


def test_client_that_sends_requests_and_reads_no_answers_is_closed(hub: Hub, sessions: Sessions) -> None:
    session = connect(sessions)
    pop_frames(session)
    sessions.set_writable(session, False)
    for number in range(MAX_CONTROL_MESSAGES + 1):
        sessions.receive(session, json.encode({"type": "ping", "id": number}), number / 10)
    ((closed, disconnect),) = hub.drain_effects().disconnects
    assert (closed, disconnect.code) == (session, CloseCode.BUSY)


def connect_me(sessions: Sessions, name: str) -> Session:
    session = sessions.connect(name, "10.0.0.1", 0.0)
    sessions.authorize(session, None, rights("me"), 0.0, WALL)
    return session


def test_session_that_leaves_counts_no_more_and_has_nothing_due(sessions: Sessions, hub: Hub) -> None:
    first, *_ = [connect_me(sessions, f"s{number}") for number in range(10)]
    assert connect_me(sessions, "s10").rights is None
    sessions.leave(first)
    assert connect_me(sessions, "s11").rights
    hub.drain_effects()
    sessions.tick(3600.0, WALL)
    due = hub.drain_effects()
    assert len(due.sessions_to_flush) == 10
    assert first not in due.sessions_to_flush
    assert first not in [session for session, _ in [*due.sessions_to_check, *due.disconnects]]


# --- heartbeats


def test_check_of_a_client_is_due_with_every_second_heartbeat(sessions: Sessions, hub: Hub) -> None:
    session, together = connect(sessions, now=0.1), []
    pop_frames(session)
    for tick in range(1, 400):
        sessions.tick(tick * 0.2501, WALL)
        types = pop_types(session)
        for _, due in hub.drain_effects().sessions_to_check:
            together.append(types)
            sessions.check_later(session, due + CONFIG.check_interval)
    assert together == [["heartbeat"]] * 4


def test_heartbeat_of_each_session_is_due_one_interval_after_its_last(sessions: Sessions) -> None:
    early, late = connect(sessions, now=0.0), connect(sessions, now=5.0)
    pop_frames(early), pop_frames(late)
    sessions.tick(10.0, WALL)
    assert (pop_types(early), pop_types(late)) == (["heartbeat"], [])
    sessions.tick(15.0, WALL)
    assert (pop_types(early), pop_types(late)) == ([], ["heartbeat"])
    sessions.disconnect(early)
    sessions.tick(20.0, WALL)
    assert pop_types(early) == []


def test_client_that_resumes_gets_one_heartbeat_soon_afterwards(sessions: Sessions) -> None:
    session = connect_and_subscribe(sessions, "zoe")
    sessions.receive(session, subscribe("alice", revision=1), 0.0)
    sessions.receive(session, subscribe("bob", revision=1), 0.5)
    pop_frames(session)
    for now, types in ((0.9, []), (1.0, ["heartbeat"]), (2.0, [])):
        sessions.tick(now, WALL)
        assert pop_types(session) == types
    sessions.receive(session, subscribe("carol", revision=1), 2.0)
    sessions.disconnect(session)
    pop_frames(session)
    sessions.tick(3.0, WALL)
    assert pop_types(session) == []


def test_pipeline_that_is_live_again_is_followed_by_a_heartbeat(sessions: Sessions) -> None:
    session = connect(sessions)
    pop_frames(session)
    sessions.set_status(Status("stalled", "2026-11-24T17:20:00.000Z", "nothing arrives"))
    sessions.tick(1.0, WALL)
    assert pop_types(session) == ["status"]
    sessions.set_status(Status("live", "2026-11-24T17:21:00.000Z"))
    sessions.tick(1.25, WALL)
    assert pop_types(session) == ["status", "heartbeat"]


# --- maximum age


@dataclass
class Aging:
    """When each session was sent `goaway`, and when it was disconnected."""

    goaways: dict[str, float] = field(default_factory=dict)
    disconnects: dict[str, float] = field(default_factory=dict)


def sessions_with_max_age(max_age: float | None) -> tuple[Sessions, Hub]:
    hub = Hub(recovery_max_revisions=10_000, history_bytes=1 << 20)
    return Sessions(CONFIG._replace(max_age=max_age), Revocations(), hub), hub


def run_until(end: float, sessions: Sessions, hub: Hub, watched: list[Session]) -> Aging:
    """Ticks four times a second."""
    aging = Aging()
    for tick in range(int(end * 4)):
        now = tick / 4
        sessions.tick(now, WALL)
        for session in watched:
            if any(frame["type"] == "goaway" and frame["reason"] == "age" for frame in pop_frames(session)):
                aging.goaways[session.name] = now
        for session, disconnect in hub.drain_effects().disconnects:
            assert disconnect == AGED
            assert disconnect.code is CloseCode.GOODBYE
            aging.disconnects[session.name] = now
            sessions.disconnect(session)
    return aging


def test_session_at_its_maximum_age_is_sent_goaway_and_disconnected_after_a_grace() -> None:
    sessions, hub = sessions_with_max_age(MAX_AGE)
    aging = run_until(MAX_AGE + 20, sessions, hub, [connect(sessions)])
    assert aging == Aging({"s": MAX_AGE}, {"s": MAX_AGE + AGE_GRACE})


def test_sessions_that_connected_together_are_sent_goaway_one_by_one_and_never_late() -> None:
    sessions, hub = sessions_with_max_age(MAX_AGE)
    watched = [connect(sessions, f"s-{number}", jitter=number / 20) for number in range(20)]
    goaways = sorted(run_until(MAX_AGE + 20, sessions, hub, watched).goaways.values())
    assert len(goaways) == len(set(goaways)) == 20
    assert goaways[0] >= MAX_AGE * (1 - AGE_SPREAD)
    assert goaways[-1] <= MAX_AGE


def test_session_that_disconnected_does_not_age() -> None:
    sessions, hub = sessions_with_max_age(MAX_AGE)
    first, second = connect(sessions, "first"), connect(sessions, "second", jitter=0.5)
    sessions.disconnect(first)
    aging = run_until(MAX_AGE - 5, sessions, hub, [first, second])
    assert aging.goaways.keys() == {"second"}
    assert aging.disconnects == {}
    sessions.disconnect(second)
    assert run_until(MAX_AGE + 50, sessions, hub, [first, second]) == Aging()


def test_session_without_a_maximum_age_does_not_age() -> None:
    sessions, hub = sessions_with_max_age(None)
    assert run_until(MAX_AGE * 5, sessions, hub, [connect(sessions, jitter=0.9)]) == Aging()
