"""The sets whose totals a gateway asks the projectors to keep."""

from msgspec import json, structs

from livebalance.gateway.auth.revocations import Revocations
from livebalance.gateway.live.hub import Hub
from livebalance.gateway.live.session import Session
from livebalance.gateway.live.sessions import Sessions
from livebalance.gateway.live.sets.sets import FORGOTTEN_AFTER, KEPT_PER_USER
from livebalance.readmodel.sets.reads import Member, SetState
from livebalance.wire.identity import AccountId, Lane, Revision
from livebalance.wire.views import MemberView
from tests.unit.gateway.harness import CONFIG, EPOCH, WALL, rights


def connect(sessions: Sessions, name: str, user: str) -> Session:
    session = sessions.connect(name, "10.0.0.1", 0.0, 0.0)
    sessions.authorize(session, None, rights(user), 0.0, WALL)
    return session


def subscribe(sessions: Sessions, session: Session, *channels: str) -> None:
    request = {"type": "subscribe", "id": 1, "channels": [{"channel": channel} for channel in channels]}
    sessions.receive(session, json.encode(request), 0.0)


def answer_reads(hub: Hub) -> None:
    for read in hub.drain_effects().set_reads:
        hub.sets.on_read(read, SetState(EPOCH, {Lane(0): 7}, {}, None))


def followed(hub: Hub, now: float) -> list[str]:
    return [name.channel for name in hub.sets.followed(now)]


def test_sets_of_a_user_are_limited_and_those_of_others_are_not(hub: Hub) -> None:
    limits = structs.replace(CONFIG.limits, sets=2 * KEPT_PER_USER)
    sessions = Sessions(CONFIG._replace(limits=limits), Revocations(), hub)
    greedy, again, other = (
        connect(sessions, name, user)
        for name, user in [("s-1", "greedy"), ("s-2", "greedy"), ("s-3", "other")]
    )
    subscribe(sessions, greedy, *(f"prefix:{number:02}" for number in range(KEPT_PER_USER - 1)))
    subscribe(sessions, again, "prefix:EU-1", "prefix:EU-2")
    subscribe(sessions, other, "prefix:US-")
    hub.sets.on_subscribed()
    assert followed(hub, 0.0) == []  # not read yet: they may have too many accounts
    answer_reads(hub)
    names = followed(hub, 1.0)
    assert len(names) == KEPT_PER_USER + 1
    assert names[-2:] == ["prefix:EU-1", "prefix:US-"]
    sessions.disconnect(greedy)
    assert followed(hub, 2.0) == ["prefix:EU-1", "prefix:US-"]  # projectors still keep the others
    assert followed(hub, 1.0 + FORGOTTEN_AFTER) == ["prefix:EU-1", "prefix:EU-2", "prefix:US-"]


def test_set_of_a_connection_that_was_just_lost_is_no_error(hub: Hub) -> None:
    """The rights of lost connections end at once, and their subscriptions some turns of the loop later."""
    sessions = Sessions(CONFIG._replace(limits=structs.replace(CONFIG.limits, sets=4)), Revocations(), hub)
    lost, other = connect(sessions, "s-1", "user"), connect(sessions, "s-2", "other")
    subscribe(sessions, lost, "prefix:EU-", "prefix:US-")
    subscribe(sessions, other, "prefix:US-")
    hub.sets.on_subscribed()
    answer_reads(hub)
    sessions.leave(lost)
    assert followed(hub, 1.0) == ["prefix:US-"]
    sessions.disconnect(lost)
    assert followed(hub, 2.0) == ["prefix:US-"]


def test_total_of_a_set_that_was_not_read_whole_is_not_reported_as_wrong(hub: Hub) -> None:
    views = [
        MemberView(AccountId(f"EU-{number}"), Revision(1), "1", "EUR", "c", None)
        for number in range(hub.sets.max_accounts + 1)
    ]
    sessions = Sessions(CONFIG._replace(limits=structs.replace(CONFIG.limits, sets=4)), Revocations(), hub)
    for count in (len(views), len(views) - 1):
        subscribe(sessions, connect(sessions, f"s-{count}", "user"), "prefix:EU-")
        hub.sets.on_subscribed()
        [read] = hub.drain_effects().set_reads
        members = {view.account: Member(view, Lane(0)) for view in views[:count]}
        hub.sets.on_read(read, SetState(EPOCH, {Lane(0): 7}, members, None, [Lane(0)]))
        assert (hub.drain_effects().wrong_totals == []) == (count == len(views))
