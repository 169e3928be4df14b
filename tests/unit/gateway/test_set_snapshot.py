"""A snapshot of a large set is sent in parts, so that it does not wait in memory as a whole."""

from typing import Any

import pytest
from msgspec import json, structs

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import Sessions
from livebalance.readmodel.sets.reads import Member, SetState
from livebalance.wire.identity import AccountId, Lane, Revision
from livebalance.wire.sets.batch import ChangedAccount, LaneBatch
from livebalance.wire.views import MemberView
from tests.unit.gateway.harness import CONFIG, EPOCH, connect, pop_frames

QUEUE_BYTES = 64 * 1024
COUNT = 3000  # members, of 110 bytes each
IDS = [AccountId(f"EU-{number:06}") for number in range(COUNT)]
LANE = Lane(0)
SUBSCRIBE = json.encode({"type": "subscribe", "id": 1, "channels": [{"channel": "prefix:EU-"}]})


@pytest.fixture
def sessions(hub: Hub) -> Sessions:
    config = CONFIG._replace(limits=structs.replace(CONFIG.limits, sets=4), client_queue_bytes=QUEUE_BYTES)
    return Sessions(config, Revocations(), hub)


def subscribed(hub: Hub, sessions: Sessions, count: int) -> list[Session]:
    """Returns sessions whose set has just been read."""
    clients = [connect(sessions, f"s-{number}") for number in range(count)]
    for session in clients:
        pop_frames(session)
        sessions.receive(session, SUBSCRIBE, 0.0)
    assert hub.drain_effects().batches_wanted
    hub.sets.on_subscribed()
    views = {id_: MemberView(id_, Revision(1), "1.00", "EUR", "c", None) for id_ in IDS}
    [read] = hub.drain_effects().set_reads
    members = {id_: Member(view, LANE) for id_, view in views.items()}
    hub.sets.on_read(read, SetState(EPOCH, {LANE: 7}, members, None))
    return clients


def send(hub: Hub, sessions: Sessions, clients: list[Session]) -> dict[str, list[dict[str, Any]]]:
    """Writes what waits, as long as anything does. Returns the frames of sets of each client."""
    frames: dict[str, list[dict[str, Any]]] = {session.name: [] for session in clients}
    for _ in range(COUNT):
        effects = hub.drain_effects()
        assert all(session.outbox.size <= QUEUE_BYTES for session in clients)
        for session in effects.sessions_to_flush:
            while popped := pop_frames(session):
                frames[session.name] += [frame for frame in popped if frame["type"].startswith("set_")]
            if session.waits_for_room:
                sessions.schedule(session, 0.0)
        if not effects.sessions_to_flush:
            return frames
        sessions.flush_due(0.0)
    raise AssertionError("it never ends")


def test_snapshots_of_many_clients_wait_in_bounded_outboxes(hub: Hub, sessions: Sessions) -> None:
    clients = subscribed(hub, sessions, 3)
    for frames in send(hub, sessions, clients).values():
        assert frames[0]["type"] == "set_snapshot"
        assert [frame["from"] for frame in frames[1:]] == [frame["to"] for frame in frames[:-1]]
        assert [member["account"] for frame in frames for member in frame["members"]] == IDS
        assert [frame.get("more", False) for frame in frames] == [True] * (len(frames) - 1) + [False]
        assert frames[-1]["totals"] == [{"currency": "EUR", "amount": f"{COUNT}.00", "accounts": COUNT}]


def test_client_with_a_low_rate_gets_a_large_set_while_it_changes(hub: Hub, sessions: Sessions) -> None:
    """Otherwise a page would wait for each interval, while more changes than a page holds."""
    [client] = subscribed(hub, sessions, 1)
    sessions.receive(client, b'{"type":"rate","id":2,"max_per_second":0.001}', 0.0)
    pages, now = 0, 100.0
    while not pages or client.waits_for_room:
        hub.drain_effects()
        while frames := client.outbox.pop(now):
            pages += sum(not isinstance(frame, bytes) for frame in frames)
        sessions.schedule(client, now)
        sessions.flush_due(now)
        now += 0.01
        assert now < 102.0
    assert pages > 3
    assert client.outbox.size <= QUEUE_BYTES  # waits for the rate


def test_batch_between_the_parts_of_a_snapshot_is_in_its_last_page(hub: Hub, sessions: Sessions) -> None:
    [client] = clients = subscribed(hub, sessions, 1)
    hub.drain_effects()
    assert client.waits_for_room
    changed = ChangedAccount(IDS[0], Revision(2), "5.00", "EUR", "c")
    hub.sets.on_batch(LaneBatch(LANE, EPOCH, 8, [changed]))
    sessions.schedule(client, 0.0)
    sessions.set_writable(client, True)
    [frames] = send(hub, sessions, clients).values()
    assert frames[-1]["lanes"] == {"0": 8}
    assert frames[-1]["totals"][0]["amount"] == f"{COUNT + 4}.00"
    assert frames[-1]["members"][-1]["revision"] == 2
