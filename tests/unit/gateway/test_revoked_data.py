"""Data that waits for a client is dropped when its rights end, also if its connection flushes once more."""

import pytest

from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import EXPIRED, REVOKED, Sessions
from livebalance.readmodel.revocations import Revocation
from livebalance.wire.delta import DeltaParts, make_delta
from livebalance.wire.identity import AccountId, Lane, Revision
from tests.unit.gateway.harness import ALICE, EPOCH, WALL, account_state, connect_and_subscribe, pop_frames

BOB = AccountId("bob")
HOUR = 3600.0
PARTS = DeltaParts(EPOCH, Revision(1), Revision(2), WALL, b"null", b"")


def session_with_waiting_deltas(hub: Hub, sessions: Sessions) -> Session:
    """A client follows alice and bob, and a delta of each waits for it."""
    session = connect_and_subscribe(sessions, "alice", "bob")
    for account in (ALICE, BOB):
        hub.on_subscribed(account)
    for read in hub.drain_effects().reads:
        hub.on_read(read, {None: account_state()}, 0.0)
    pop_frames(session)
    for account in (ALICE, BOB):
        hub.on_delta(account, make_delta(account, Lane(0), PARTS))
    hub.drain_effects()
    return session


def test_session_that_is_revoked_is_sent_no_waiting_data(hub: Hub, sessions: Sessions) -> None:
    session = session_with_waiting_deltas(hub, sessions)
    assert session.rights
    sessions.revoke([Revocation(session.rights.subject, None, None, WALL)])
    assert hub.drain_effects().disconnects == [(session, REVOKED)]
    assert pop_frames(session) == []


def test_session_whose_token_expired_is_sent_no_waiting_data(hub: Hub, sessions: Sessions) -> None:
    session = session_with_waiting_deltas(hub, sessions)
    sessions.tick(HOUR - 60, WALL)  # the warning
    sessions.tick(HOUR, WALL)
    assert hub.drain_effects().disconnects == [(session, EXPIRED)]
    assert "delta" not in [frame["type"] for frame in pop_frames(session)]


def test_session_whose_account_is_revoked_is_sent_the_data_of_its_other_account_only(
    hub: Hub, sessions: Sessions
) -> None:
    session = session_with_waiting_deltas(hub, sessions)
    assert session.rights
    sessions.revoke([Revocation(session.rights.subject, None, ALICE, WALL)])
    sent = [(frame["type"], frame["channel"]) for frame in pop_frames(session)]
    assert sent == [("delta", "account:bob"), ("unsubscribed", "account:alice")]
    hub.on_delta(ALICE, make_delta(ALICE, Lane(0), PARTS._replace(from_=Revision(2), to=Revision(3))))
    assert pop_frames(session) == []


def test_client_that_subscribes_again_is_sent_nothing_that_waited_for_its_former_subscription(
    hub: Hub, sessions: Sessions
) -> None:
    session = session_with_waiting_deltas(hub, sessions)
    hub.subscribe(session, ALICE, None, 0.0)
    assert [frame["channel"] for frame in pop_frames(session)] == ["account:bob"]


def test_revocation_of_another_user_does_not_look_at_what_a_session_may_see(
    hub: Hub, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 1,000 revocations and 2,000 sessions, this stopped a gateway for 15 s."""
    session = session_with_waiting_deltas(hub, sessions)
    looked_at: list[Session] = []
    monkeypatch.setattr(hub.sets, "hidden_accounts", looked_at.append)
    monkeypatch.setattr(sessions, "_unsubscribe_hidden", looked_at.append)
    sessions.revoke([Revocation("another", None, ALICE, WALL), Revocation(None, "another", None, WALL)])
    assert looked_at == []
    assert [frame["type"] for frame in pop_frames(session)] == ["delta", "delta"]


def test_revocation_does_not_look_for_hidden_accounts_without_sets(
    hub: Hub, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_with_waiting_deltas(hub, sessions)
    looked_at: list[Session] = []
    monkeypatch.setattr(hub.sets, "hidden_accounts", looked_at.append)
    sessions.revoke([Revocation(None, None, ALICE, WALL)])
    assert looked_at == []
