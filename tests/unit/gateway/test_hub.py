"""Moments of the hub and its clients that the law does not tell apart: who is told what, and when."""

from typing import Any

import pytest
from msgspec import json

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.auth.rights import Rights, parse_scope
from livebalance.gateway.limits.connections import STRIKES
from livebalance.gateway.live.history import FRESH
from livebalance.gateway.live.hub import ACK_WITHIN, Hub
from livebalance.gateway.live.session import READS_AT_ONCE, Session
from livebalance.gateway.live.sessions import WORDS, SessionConfig, Sessions
from livebalance.readmodel.gateway_reads import AccountState
from livebalance.wire.close import CloseCode
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.frame import Limits, Status
from livebalance.wire.identity import AccountId, Epoch, Lane, Position, Revision
from livebalance.wire.timestamp import Millis

WALL = Millis(1_795_000_000_000)
EPOCH = Epoch("00000000000000a1")
ALICE = AccountId("alice")
TERMS = SessionConfig("gateway-1", "1.0", 10_000, Limits(16384, 128, 10_000), 1000)


@pytest.fixture
def hub() -> Hub:
    return Hub(resume_max=10_000, trail_bytes=1 << 20)


@pytest.fixture
def clients(hub: Hub) -> Sessions:
    return Sessions(TERMS, Revocations(), hub)


def frames(session: Session) -> list[dict[str, Any]]:
    """What waits for a client, decoded."""
    return [
        json.decode(frame if isinstance(frame, bytes) else frame.text) for frame in session.outbox.pop(0.0)
    ]


def subscribe(*accounts: str) -> bytes:
    return json.encode(
        {"type": "subscribe", "id": 1, "channels": [{"channel": f"account:{one}"} for one in accounts]}
    )


def subscribe_at(account: str, revision: int) -> bytes:
    at = {"epoch": EPOCH, "revision": revision}
    channels = [{"channel": f"account:{account}", "position": at}]
    return json.encode({"type": "subscribe", "id": 1, "channels": channels})


def unsubscribe(*accounts: str) -> bytes:
    return json.encode({"type": "unsubscribe", "id": 2, "channels": [f"account:{one}" for one in accounts]})


def empty(revision: int = 1) -> AccountState:
    return AccountState(EPOCH, Revision(revision), Lane(0), WALL, WALL, None, [], False, False, False)


def rights(subject: str, *accounts: str, seconds: int = 3600) -> Rights:
    """For these accounts, or for all."""
    return Rights(
        subject,
        f"login of {subject}",
        parse_scope(list(accounts or "*")),
        WALL // 1000,
        Millis(WALL + seconds * 1000),
    )


def connected(clients: Sessions, name: str, address: str, now: float) -> Session:
    """One that may see everything."""
    session = clients.connect(name, address, now)
    clients.vouched(session, None, rights(f"subject of {name}"), now, WALL)
    return session


def joined(clients: Sessions, *accounts: str) -> Session:
    session = connected(clients, "s", "10.0.0.1", 0.0)
    frames(session)
    clients.receive(session, subscribe(*accounts), 0.0)
    return session


def test_the_welcome_is_followed_by_the_status(clients: Sessions) -> None:
    clients.tell(Status("live", "2026-11-24T17:20:00.000Z"))
    session = connected(clients, "s-1", "10.0.0.1", 0.0)
    welcome, status = frames(session)
    assert (welcome["session"], welcome["gateway"], welcome["epoch"]) == ("s-1", "gateway-1", None)
    assert status["state"] == "live"


PING = b'{"type":"ping","id":1}'


def test_who_asks_too_often_is_told_then_closed_then_not_asked_back(hub: Hub, clients: Sessions) -> None:
    for number in range(STRIKES):
        session = connected(clients, f"s-{number}", "10.0.0.1", 0.0)
        frames(session)
        for _ in range(30):
            clients.receive(session, PING, 0.0)
        assert [one["type"] for one in frames(session)] == ["ok"] * 30
        for _ in range(10):
            clients.receive(session, PING, 0.0)
        told = frames(session)
        assert {(one["code"], one["temporary"]) for one in told} == {("rate_limited", True)}
        assert all(100 <= one["retry_after_ms"] <= 101 for one in told)
        assert not hub.take().hangups
        clients.receive(session, PING, 0.0)
        [(closed, hangup)] = hub.take().hangups
        assert closed is session
        last = number == STRIKES - 1
        assert hangup.code is (CloseCode.ABUSE if last else CloseCode.BUSY)
        assert last or hangup.retry_after_ms
    other = connected(clients, "s", "10.0.0.2", 0.0)
    clients.receive(other, PING, 0.0)
    assert frames(other)[-1]["type"] == "ok"


def test_who_asks_as_often_as_it_may_hears_no_warning(clients: Sessions) -> None:
    session = connected(clients, "s", "10.0.0.1", 0.0)
    frames(session)
    for number in range(1000):
        clients.receive(session, PING, number / 10)
    assert [one["type"] for one in frames(session)] == ["ok"] * 1000


def test_a_flood_of_errors_and_of_subscriptions_has_its_bound(hub: Hub, clients: Sessions) -> None:
    session = joined(clients)
    hangups, errors = hub.take().hangups, 0
    while not hangups:
        errors += 1
        clients.receive(session, b'{"type":"hello"}', errors / 10)
        hangups = hub.take().hangups
    assert [hangup.code for _, hangup in hangups] == [CloseCode.BUSY]
    assert errors == 55  # 50, and those forgiven meanwhile
    churning = joined(clients)
    for number in range(3):
        frames(churning)
        clients.receive(churning, subscribe(*(f"a-{number}-{n}" for n in range(100))), 0.0)
        clients.receive(churning, unsubscribe(*(f"a-{number}-{n}" for n in range(100))), 0.0)
    refused, _ = frames(churning)
    assert (refused["code"], refused["id"], refused["temporary"]) == ("rate_limited", 1, True)


def test_a_read_begins_only_after_the_acknowledgement(hub: Hub, clients: Sessions) -> None:
    joined(clients, "alice")
    done = hub.take()
    assert (done.subscriptions, done.reads) == ({ALICE: True}, [])
    hub.acked(ALICE)
    (read,) = hub.take().reads
    assert (read.account, read.afters) == (ALICE, frozenset({None}))


def test_two_joiners_share_one_read(hub: Hub, clients: Sessions) -> None:
    first = joined(clients, "alice")
    hub.acked(ALICE)
    (read,) = hub.take().reads
    second = joined(clients, "alice")
    assert not hub.take().reads
    hub.answered(read, {None: empty()}, 0.0)
    assert [one["type"] for one in frames(first)] == ["ok", "snapshot"]
    assert [one["type"] for one in frames(second)] == ["ok", "snapshot"]


def test_the_answer_to_a_read_for_those_who_left_is_not_for_those_who_came(
    hub: Hub, clients: Sessions
) -> None:
    first = joined(clients, "alice")
    hub.acked(ALICE)
    (old,) = hub.take().reads
    clients.disconnect(first)
    assert hub.take().subscriptions == {ALICE: False}
    second = joined(clients, "alice")
    hub.take()
    hub.answered(old, {None: empty()}, 0.0)
    assert [one["type"] for one in frames(second)] == ["ok"]


def test_who_has_nothing_yet_is_refused_while_postgres_is_away_and_others_are_kept(
    hub: Hub, clients: Sessions
) -> None:
    old = joined(clients, "alice")
    hub.acked(ALICE)
    (read,) = hub.take().reads
    hub.answered(read, {None: empty()}, 0.0)
    frames(old)
    hub.tick(FRESH + 1)
    new = joined(clients, "alice")
    (read,) = hub.take().reads
    hub.failed(read, 700)
    _, error = frames(new)
    assert (error["code"], error["channel"], error["retry_after_ms"]) == ("unavailable", "account:alice", 700)
    assert frames(old) == []
    assert old.followers
    assert not new.followers


def test_who_comes_from_where_another_was_is_answered_without_a_read(hub: Hub, clients: Sessions) -> None:
    joined(clients, "alice")
    hub.acked(ALICE)
    (read,) = hub.take().reads
    hub.answered(read, {None: empty(1)}, 0.0)
    for at in (1, 3):
        parts = DeltaParts(EPOCH, Revision(at), Revision(at + 2), WALL, b"null", b"")
        hub.delta(ALICE, make_delta(ALICE, Lane(0), parts))
    fresh = joined(clients, "alice")
    assert not hub.take().reads
    assert [one["type"] for one in frames(fresh)] == ["ok", "snapshot", "delta", "delta"]
    back = connected(clients, "back", "10.0.0.1", 0.0)
    frames(back)
    clients.receive(back, subscribe_at("alice", 3), 0.0)
    clients.receive(back, subscribe_at("alice", 3), 0.0)  # anew
    assert not hub.take().reads
    told = frames(back)
    assert [(one["type"], one.get("from")) for one in told] == [("ok", None), ("ok", None), ("delta", 3)]
    lost = connected(clients, "lost", "10.0.0.1", 0.0)
    clients.receive(lost, subscribe_at("alice", 2), 0.0)  # inside a delta
    assert len(hub.take().reads) == 1


def test_who_waits_too_long_for_redis_is_refused(hub: Hub, clients: Sessions) -> None:
    session = joined(clients, "alice")
    hub.take()
    hub.tick(ACK_WITHIN - 1)
    assert session.followers
    hub.tick(ACK_WITHIN + 1)
    assert [one["type"] for one in frames(session)] == ["ok", "error"]
    assert hub.take().subscriptions == {ALICE: False}


def test_one_session_is_read_for_little_by_little(hub: Hub, clients: Sessions) -> None:
    accounts = [f"a-{number}" for number in range(40)]
    joined(clients, *accounts)
    for account in accounts:
        hub.acked(AccountId(account))
    first = hub.take().reads
    assert len(first) == READS_AT_ONCE
    for read in first:
        hub.answered(read, {None: empty()}, 0.0)
    assert len(hub.take().reads) == READS_AT_ONCE


def test_while_the_transport_takes_nothing_nothing_is_read_for_it(hub: Hub, clients: Sessions) -> None:
    session = joined(clients, "alice")
    clients.writable(session, False)
    hub.acked(ALICE)
    assert not hub.take().reads
    clients.writable(session, True)
    assert len(hub.take().reads) == 1


def test_a_client_that_asks_and_never_reads_is_closed(hub: Hub, clients: Sessions) -> None:
    session = connected(clients, "s", "10.0.0.1", 0.0)
    frames(session)
    clients.writable(session, False)
    for number in range(WORDS + 1):
        clients.receive(session, json.encode({"type": "ping", "id": number}), number / 10)
    ((who, hangup),) = hub.take().hangups
    assert (who, hangup.code) == (session, CloseCode.BUSY)


def test_each_heartbeat_is_due_in_its_turn(clients: Sessions) -> None:
    early, late = connected(clients, "s", "10.0.0.1", 0.0), connected(clients, "s", "10.0.0.1", 5.0)
    frames(early), frames(late)
    clients.tick(10.0, WALL)
    assert ([one["type"] for one in frames(early)], frames(late)) == (["heartbeat"], [])
    clients.tick(15.0, WALL)
    assert (frames(early), [one["type"] for one in frames(late)]) == ([], ["heartbeat"])
    clients.disconnect(early)
    clients.tick(20.0, WALL)
    assert frames(early) == []


def test_a_position_of_before_is_read_from_with_its_epoch(hub: Hub, clients: Sessions) -> None:
    session = connected(clients, "s", "10.0.0.1", 0.0)
    at = {"epoch": EPOCH, "revision": 7}
    text = {"type": "subscribe", "id": 1, "channels": [{"channel": "account:alice", "position": at}]}
    clients.receive(session, json.encode(text), 0.0)
    hub.acked(ALICE)
    (read,) = hub.take().reads
    assert read.afters == {Position(EPOCH, Revision(7))}
