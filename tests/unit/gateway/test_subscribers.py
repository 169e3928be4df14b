"""Subscriptions that are not in step with their channel: which frames they are sent."""

import pytest
from msgspec.structs import replace

from livebalance.gateway.live.channel import DisownedRange
from livebalance.gateway.live.effects import Effects
from livebalance.gateway.live.history import History
from livebalance.gateway.live.outbox import Frame, SessionEvent
from livebalance.gateway.live.recovery import DISOWNED, Recovery
from livebalance.gateway.live.sessions import Sessions
from livebalance.gateway.live.subscribers import CatchUp, Subscribers, Subscription, changes_epoch, fit
from livebalance.wire.identity import AccountId, Position, Revision
from tests.unit.gateway.channels import OTHER_EPOCH, at, delta
from tests.unit.gateway.harness import ALICE, EPOCH, connect, pop_frames
from tests.unit.gateway.test_outbox import texts


def across(from_: Position | None, to: Position, text: bytes = b'"x"') -> Frame:
    return Frame(ALICE, from_, to, text)


@pytest.mark.parametrize(
    ("position", "sent", "expected"),
    [
        (at(3), across(at(3), at(4)), "next"),
        (None, across(None, at(4)), "next"),
        (at(4), across(at(3), at(4)), "past"),
        (at(5), across(at(3), at(4)), "past"),
        (at(5), across(at(4), at(4)), "past"),
        (at(4), across(None, at(4)), "past"),
        (at(4), across(at(9, OTHER_EPOCH), at(4)), "past"),
        (at(5), across(at(9, OTHER_EPOCH), at(4)), "past"),
        (at(3), across(at(2), at(4)), "gap"),
        (at(2), across(at(3), at(4)), "gap"),
        (None, across(at(3), at(4)), "gap"),
        (at(4, OTHER_EPOCH), across(at(3), at(4)), "gap"),
        (at(4), across(at(9), at(4)), "gap"),  # Postgres went back
        (at(4), across(at(4, OTHER_EPOCH), at(5)), "gap"),
    ],
)
def test_frame_fits_a_position(position: Position | None, sent: Frame, expected: str) -> None:
    assert fit(position, sent) == expected


def test_frame_changes_the_epoch_only_between_positions_of_two_epochs() -> None:
    assert changes_epoch(across(at(3, OTHER_EPOCH), at(4)))
    assert not changes_epoch(across(at(3), at(4)))
    assert not changes_epoch(across(None, at(4)))


def ahead(sessions: Sessions, revision: int) -> tuple[Subscribers, Subscription]:
    """A subscription at that revision, of a channel at revision 3."""
    subscribers = Subscribers(ALICE, Effects(), History(10_000), 1000, 0.0)
    subscribers.channel.position = at(3)
    session = connect(sessions)
    pop_frames(session)
    subscribers.subscribe(session, at(revision))
    subscription = session.subscriptions[ALICE]
    subscribers._move(subscription, at(revision))
    assert subscription.state is (CatchUp.AHEAD if revision > 3 else CatchUp.BEHIND)
    return subscribers, subscription


def test_subscription_ahead_of_its_channel_is_in_step_once_the_channel_is_there(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    subscribers.on_delta(delta(3, 4, text=b'"a"'))
    assert (subscription.state, subscription.position) == (CatchUp.AHEAD, at(5))
    subscribers.on_delta(delta(4, 5, text=b'"b"'))
    assert subscription.state is CatchUp.IN_STEP
    assert pop_frames(subscription.session) == []
    subscribers.on_delta(delta(5, 6, text=b'"c"'))
    assert texts(subscription.session.outbox.pop(0.0)) == [b'"c"']


def test_subscription_ahead_of_its_channel_is_behind_after_a_delta_that_leaves_something_out(
    sessions: Sessions,
) -> None:
    subscribers, subscription = ahead(sessions, 5)
    subscribers.on_delta(delta(3, 6, text=b'"a"'))
    assert (subscription.state, subscription.position) == (CatchUp.BEHIND, at(5))
    assert pop_frames(subscription.session) == []


def test_subscription_ahead_of_its_channel_is_sent_the_next_frame(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    subscribers._relay(Frame(ALICE, at(5), at(6), b'"a"'))
    assert (subscription.state, subscription.position) == (CatchUp.AHEAD, at(6))
    assert texts(subscription.session.outbox.pop(0.0)) == [b'"a"']
    assert subscription.session in subscribers._effects.sessions_to_flush
    assert subscribers._history.chain(ALICE, at(5), at(6)) == [across(at(5), at(6), b'"a"')]


def test_subscription_moves_by_the_position_of_its_channel(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    for position, more, state in (
        (at(3), False, CatchUp.IN_STEP),
        (at(3), True, CatchUp.BEHIND),
        (at(2), False, CatchUp.BEHIND),
        (at(4), False, CatchUp.AHEAD),
        (at(4), True, CatchUp.BEHIND),
        (at(2, OTHER_EPOCH), False, CatchUp.AHEAD),
    ):
        subscribers._move(subscription, position, more)
        assert (subscription.position, subscription.state) == (position, state)
    subscribers.channel.position = None
    subscribers._move(subscription, at(2))
    assert subscription.state is CatchUp.AHEAD


def test_subscription_that_fell_behind_reads_from_where_its_client_is(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    session = subscription.session
    session.behind.clear()
    subscribers.fall_behind(subscription, at(4))
    assert (subscription.position, subscription.state) == (at(4), CatchUp.BEHIND)
    assert list(session.behind) == [subscription]
    assert session in subscribers._effects.sessions_behind
    subscribers.fall_behind(subscription, at(3))
    assert list(session.behind) == [subscription]  # it waits already


def test_reads_of_a_session_are_counted_while_they_run(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    session, effects = subscription.session, subscribers._effects
    subscribers._set_state(subscription, CatchUp.READING)
    assert (session.reads, list(subscribers._reading)) == (1, [subscription])
    effects.sessions_behind.discard(session)
    subscribers._set_state(subscription, CatchUp.IN_STEP)
    assert (session.reads, list(subscribers._reading), list(subscribers._in_step)) == (0, [], [session])
    assert session in effects.sessions_behind
    subscribers.unsubscribe(subscription)
    assert (list(subscribers._in_step), subscribers.size, session.subscriptions) == ([], 0, {})
    assert subscription.state is CatchUp.INACTIVE


def test_change_of_epoch_replaces_what_waits_of_the_old_epoch(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    session, new = subscription.session, at(1, OTHER_EPOCH)
    session.outbox.put(across(at(4), at(5)))
    assert subscribers._send(subscription, across(at(5), new))
    [sent] = session.outbox.pop(0.0)
    assert isinstance(sent, Frame)
    assert (sent.before, sent.after) == (at(4), new)
    session.outbox.put(across(None, at(5)))
    assert not subscribers._send(subscription, across(at(5), new))
    assert (subscription.position, subscription.state) == (None, CatchUp.BEHIND)
    assert session.outbox.pop(0.0) == []


def test_last_frame_ends_the_subscription(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    assert subscribers._send(subscription, Frame(ALICE, at(5), at(6), b'"gone"', is_last=True))
    assert subscription.state is CatchUp.INACTIVE
    assert texts(subscription.session.outbox.pop(0.0)) == [b'"gone"']


def test_last_frame_is_not_dropped_with_data_beyond_the_bound(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    session = subscription.session
    session.outbox.writable, session.outbox._max_bytes = False, 30
    subscribers._send(subscription, across(at(5), at(6)))
    subscribers._send(subscription, Frame(ALICE, at(6), at(7), b'"gone"', is_last=True))
    assert not session.outbox.put(Frame(AccountId("bob"), at(1), at(2), b"y" * 31))
    session.overflow()
    assert texts(session.outbox.pop(0.0)) == [b'"gone"']


def test_frames_beyond_the_bound_of_an_outbox_make_the_subscription_read_again(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    session = subscription.session
    session.outbox.writable, session.outbox._max_bytes = False, 10
    frames = [across(at(5), at(6)), Frame(ALICE, at(6), at(7), b'"' + b"y" * 20 + b'"'), across(at(7), at(8))]
    subscribers._send_all(subscription, frames)
    assert subscription.unanswered is False
    assert (subscription.position, subscription.state) == (at(5), CatchUp.BEHIND)
    assert session.outbox.pop(0.0) == []
    assert session.outbox.overflows == 1


def test_failed_read_leaves_a_subscription_that_was_answered_before_behind(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    subscription.unanswered = False
    subscribers._set_state(subscription, CatchUp.READING)
    subscribers.channel.request_read(at(5))
    subscribers.channel.begin_read()
    subscribers.on_read_failed(700)
    assert (subscription.state, subscription.position) == (CatchUp.BEHIND, at(5))
    assert list(subscription.session.behind)[-1] is subscription


@pytest.mark.parametrize(
    ("position", "current", "found"),
    [(at(3), at(13), True), (at(3), at(14), False), (at(1, OTHER_EPOCH), at(99), True)],
)
def test_subscription_too_far_behind_gets_no_frames_of_the_history(
    sessions: Sessions, position: Position, current: Position, found: bool
) -> None:
    subscribers, subscription = ahead(sessions, 5)
    subscribers._recovery_max_revisions = 10
    subscribers.channel.position, subscription.position = current, position
    missed = across(position, current)
    subscribers._history.store(missed)
    assert subscribers._missed_frames(subscription) == ([missed] if found else None)


def test_subscription_answered_with_a_page_stays_behind_also_if_its_channel_is_there(
    sessions: Sessions,
) -> None:
    subscribers, subscription = ahead(sessions, 5)
    page = Recovery(at(9), at(3), across(at(1), at(3)), None, None)
    subscribers._answer(subscription, page, [across(at(9), at(10))])
    assert (subscription.position, subscription.state) == (at(3), CatchUp.BEHIND)
    assert subscription.session.outbox.pop(0.0) == [page.frame]


def test_last_frame_ends_subscriptions_in_step(sessions: Sessions) -> None:
    subscribers, subscription = ahead(sessions, 5)
    subscribers._move(subscription, at(3))
    subscribers._relay(Frame(ALICE, at(3), at(4), b'"gone"', is_last=True))
    assert subscription.state is CatchUp.INACTIVE


def test_subscription_ahead_of_what_postgres_has_is_read_again(sessions: Sessions) -> None:
    """Postgres may have lost what the subscription was answered."""
    for stored, state in (
        (at(5), CatchUp.AHEAD),
        (at(6), CatchUp.AHEAD),
        (at(4, OTHER_EPOCH), CatchUp.AHEAD),  # the channel finds out itself
        (at(4), CatchUp.BEHIND),
    ):
        subscribers, subscription = ahead(sessions, 5)
        subscribers.check_ahead(stored)
        assert (subscription.state, subscription.position) == (state, at(5))
        assert list(subscription.session.behind) == [subscription] * (1 + (state is CatchUp.BEHIND))


def test_read_that_finds_more_is_repaired_once_the_delta_is_overdue(sessions: Sessions) -> None:
    subscribers, _ = ahead(sessions, 5)
    subscribers.channel.request_read(at(3))
    subscribers.channel.subscribed = True
    assert subscribers.channel.begin_read() == frozenset({at(3)})
    subscribers.on_read({at(3): Recovery(at(4), at(4), None, None, None)}, 10.0)
    assert not subscribers.channel.check_overdue(9.9)
    assert subscribers.channel.check_overdue(10.0)


def test_delta_leaves_the_sessions_that_are_flushed_already(sessions: Sessions) -> None:
    effects, flushed = Effects(), connect(sessions)
    effects.sessions_to_flush.add(flushed)
    subscribers = Subscribers(ALICE, effects, History(10_000), 1000, 0.0)
    subscribers.channel.position = at(3)
    session = connect(sessions)
    subscribers.subscribe(session, at(3))
    subscribers._move(session.subscriptions[ALICE], at(3))
    subscribers.on_delta(delta(3, 4, text=b'"a"'))
    assert list(effects.sessions_to_flush) == [flushed, session]
    assert list(subscribers._in_step) == [session]


def test_disowned_content_is_forgotten_and_read_again_for_those_that_are_not_in_step(
    sessions: Sessions,
) -> None:
    subscribers, subscription = ahead(sessions, 5)
    reader = connect(sessions)
    subscribers.subscribe(reader, at(1))
    reading = reader.subscriptions[ALICE]
    subscribers._set_state(reading, CatchUp.READING)
    subscribers.on_delta(delta(3, 4, text=b'"a"'))
    assert subscribers._history.chain(ALICE, at(3), at(4))
    subscribers._effects.subscribers_to_read.discard(subscribers)
    subscribers.disown_content()
    assert subscribers._history.chain(ALICE, at(3), at(4)) is None
    assert [subscription.state, reading.state] == [CatchUp.BEHIND] * 2
    assert list(subscribers._effects.subscribers_to_read) == [subscribers]
    assert subscribers.channel.uncounted_gap == "content"


def test_read_behind_the_channel_disowns_what_is_under_way_to_those_that_are_not_in_step(
    sessions: Sessions,
) -> None:
    subscribers, subscription = ahead(sessions, 5)
    subscribers.on_delta(delta(3, 4, text=b'"a"'))
    subscribers.channel.subscribed = True
    subscribers.channel.request_read(at(4))
    subscribers.on_delta(delta(7, 8))
    subscribers.begin_read()
    snapshot = replace(across(at(4), at(3)), event=SessionEvent("snapshot", "ahead"))
    subscribers.on_read({at(4): Recovery(at(3), at(3), snapshot, None, None)}, 10.0)
    assert subscribers.channel.disowned == DisownedRange(EPOCH, Revision(3), Revision(4))
    assert subscribers._history.chain(ALICE, at(3), at(4)) is None
    assert subscription.state is CatchUp.BEHIND


def test_client_at_a_disowned_position_is_read_for_without_a_position(sessions: Sessions) -> None:
    for revision, position in ((4, at(4)), (5, DISOWNED), (6, DISOWNED), (7, at(7))):
        subscribers, subscription = ahead(sessions, revision)
        subscribers.channel.subscribed = True
        subscribers.channel.disowned = DisownedRange(EPOCH, Revision(4), Revision(6))
        subscribers.catch_up(subscription)
        assert (subscription.state, subscription.position) == (CatchUp.READING, position)
        assert subscribers.channel.begin_read() == frozenset({position})


def test_read_answers_only_subscriptions_at_the_positions_that_it_was_for(sessions: Sessions) -> None:
    subscribers, first = ahead(sessions, 1)
    session = connect(sessions)
    subscribers.subscribe(session, at(2))
    second = session.subscriptions[ALICE]
    subscribers.catch_up(first)
    subscribers.begin_read()
    subscribers.catch_up(second)
    subscribers.on_read({at(1): Recovery(at(3), at(3), across(at(1), at(3)), None, None)}, 10.0)
    assert (first.state, second.state) == (CatchUp.IN_STEP, CatchUp.READING)
    assert second.position == at(2)


def test_account_has_a_subscription_of_each_client_until_it_unsubscribes(sessions: Sessions) -> None:
    subscribers, first = ahead(sessions, 5)
    session = connect(sessions)
    subscribers.subscribe(session, None)
    sizes = [subscribers.size]
    for subscription in (session.subscriptions[ALICE], first):
        subscribers.unsubscribe(subscription)
        sizes.append(subscribers.size)
    assert sizes == [2, 1, 0]
