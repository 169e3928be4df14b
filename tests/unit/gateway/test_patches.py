"""Which clients are sent patches, and of what."""

from unittest.mock import Mock

import pytest

from livebalance.gateway.live import patches
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.outbox import Frame
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import Sessions
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import Lane, Revision, TransferId
from livebalance.wire.views import BalanceView, TransferView, balance_json, transfers_json
from tests.unit.gateway.harness import (
    ALICE,
    EPOCH,
    WALL,
    account_state,
    connect,
    pop_frames,
    pop_types,
    subscribe,
    unsubscribe,
)

TIME = "2026-11-24T17:20:00.000Z"


def ask(*accounts: str, revision: int | None = None) -> bytes:
    return subscribe(*accounts, revision=revision, patches=True)


def change(hub: Hub, to: int) -> None:
    """Relays the delta from the revision before `to`, with a transfer and a balance."""
    id_ = TransferId(f"t-{to}")
    balance = BalanceView(f"{to}.00", "EUR", to, Revision(to), id_, "client-1", "0.00", "0.00", "0.00", None)
    transfer = TransferView(id_, "1.00", f"{to}.00", TIME, Revision(to), f"transfers/0@{to}")
    content = balance_json(balance), transfers_json([transfer])
    hub.on_delta(
        ALICE, make_delta(ALICE, Lane(0), DeltaParts(EPOCH, Revision(to - 1), Revision(to), WALL, *content))
    )


def answer(hub: Hub) -> None:
    hub.on_subscribed(ALICE)
    for read in hub.drain_effects().reads:
        hub.on_read(read, dict.fromkeys(read.positions, account_state()), 0.0)


def joined(sessions: Sessions, hub: Hub, *requests: bytes) -> list[Session]:
    """Sessions that have subscribed to ALICE at revision 1, each with its request."""
    joined = []
    for number, request in enumerate(requests):
        session = connect(sessions, f"s{number}")
        sessions.receive(session, request, 0.0)
        joined.append(session)
    answer(hub)
    for session in joined:
        pop_frames(session)
    return joined


def test_first_delta_is_whole_and_the_next_is_a_patch(hub: Hub, sessions: Sessions) -> None:
    (session,) = joined(sessions, hub, ask("alice"))
    change(hub, 2)
    assert pop_types(session) == ["delta"]
    change(hub, 3)
    assert pop_frames(session) == [
        {
            "type": "patch", "channel": "account:alice", "epoch": EPOCH, "from": 2, "to": 3,
            "recorded_at": "2026-11-18T11:06:40.000Z",
            "transfers": [{"id": "t-3", "amount": "1.00", "total": "3.00", "occurred_at": TIME,
                           "source": "transfers/0@3"}],
            "balance": {"amount": "3.00", "version": 3},
        }
    ]  # fmt: skip


def test_client_that_does_not_ask_is_sent_deltas(hub: Hub, sessions: Sessions) -> None:
    asking, other = joined(sessions, hub, ask("alice"), subscribe("alice"))
    change(hub, 2)
    change(hub, 3)
    assert pop_types(asking) == ["delta", "patch"]
    assert pop_types(other) == ["delta", "delta"]


def test_patch_is_made_once_for_all_clients(
    hub: Hub, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_patch = Mock(wraps=patches.make_patch)
    monkeypatch.setattr(patches, "make_patch", make_patch)
    watching = joined(sessions, hub, *[ask("alice")] * 3)
    change(hub, 2)
    change(hub, 3)
    sent = [session.outbox.pop(0.0) for session in watching]
    make_patch.assert_called_once()
    assert isinstance(sent[0][1], Frame)
    assert all(frames[1] is sent[0][1] for frames in sent)


def test_no_patch_is_made_without_a_client_that_asks(
    hub: Hub, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "make_patch", None)
    (session,) = joined(sessions, hub, subscribe("alice"))
    change(hub, 2)
    change(hub, 3)
    assert pop_types(session) == ["delta", "delta"]


def test_remembered_patches_are_bounded(
    hub: Hub, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "MAX_PATCHES", 2)
    first, second = joined(sessions, hub, ask("alice"), ask("alice"))
    for revision in range(2, 8):
        change(hub, revision)
    assert pop_frames(first) == pop_frames(second)
    assert len(hub._patcher._made) <= 2


def test_merged_delta_is_a_patch_of_all_its_changes(hub: Hub, sessions: Sessions) -> None:
    (session,) = joined(sessions, hub, ask("alice"))
    change(hub, 2)
    pop_frames(session)
    sessions.set_writable(session, False)
    change(hub, 3)
    change(hub, 4)
    change(hub, 5)
    sessions.set_writable(session, True)
    (patch,) = pop_frames(session)
    assert (patch["type"], patch["from"], patch["to"]) == ("patch", 2, 5)
    assert [transfer["id"] for transfer in patch["transfers"]] == ["t-3", "t-4", "t-5"]
    assert patch["balance"] == {"amount": "5.00", "version": 5}


def test_delta_after_another_subscribe_is_whole(hub: Hub, sessions: Sessions) -> None:
    (session,) = joined(sessions, hub, ask("alice"))
    change(hub, 2)
    change(hub, 3)
    sessions.receive(session, ask("alice", revision=3), 0.0)
    hub.drain_effects()
    pop_frames(session)
    change(hub, 4)
    change(hub, 5)
    assert pop_types(session) == ["delta", "patch"]


def test_subscribe_that_does_not_ask_ends_the_patches(hub: Hub, sessions: Sessions) -> None:
    (session,) = joined(sessions, hub, ask("alice"))
    change(hub, 2)
    sessions.receive(session, subscribe("alice", revision=2), 0.0)
    hub.drain_effects()
    pop_frames(session)
    change(hub, 3)
    change(hub, 4)
    assert pop_types(session) == ["delta", "delta"]


def test_client_that_unsubscribed_and_came_back_is_sent_a_whole_delta(hub: Hub, sessions: Sessions) -> None:
    session, other = joined(sessions, hub, ask("alice"), ask("alice"))
    change(hub, 2)
    pop_frames(session)
    sessions.receive(session, unsubscribe("alice"), 0.0)
    sessions.receive(session, ask("alice", revision=2), 0.0)
    hub.drain_effects()
    pop_frames(session)
    change(hub, 3)
    assert pop_types(session) == ["delta"]
    assert pop_types(other) == ["delta", "patch"]
