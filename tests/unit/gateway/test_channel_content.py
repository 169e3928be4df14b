"""The channel of an account: messages that prove nothing, and content that is confirmed or disowned."""

import math

import pytest

from livebalance.gateway.live import channel as channel_module
from livebalance.gateway.live.channel import (
    Channel,
    DisownedRange,
    ReadOutcome,
    StoredPosition,
)
from livebalance.gateway.live.content import RelayedContent
from livebalance.gateway.live.outbox import Frame, SessionEvent
from livebalance.gateway.live.recovery import DISOWNED
from livebalance.readmodel.gateway_reads import SkippedRange
from livebalance.wire.identity import Epoch, Revision
from tests.unit.gateway.channels import (
    OTHER_EPOCH,
    at,
    channel_at,
    delta,
    frame,
    gap,
    recovery,
    stored,
    text,
)
from tests.unit.gateway.harness import ALICE, EPOCH

# --- messages that prove nothing


def test_gap_after_a_needless_gap_is_read_at_the_next_tick() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(8, 9))
    channel.begin_read()
    channel.on_read({at(3): recovery(at(3))}, 7.0)
    channel.on_delta(delta(8, 9))
    assert not channel.has_gap
    assert channel.check_overdue(0.0)
    assert channel.has_gap


def test_deltas_that_lead_to_a_gap_after_a_needless_gap_are_relayed() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(5, 6))
    channel.begin_read()
    channel.on_read({at(3): recovery(at(3))}, 7.0)
    channel.on_delta(delta(5, 6))
    assert channel.on_delta(delta(3, 5)) == frame(3, 5)
    assert channel.expected == StoredPosition(at(6), None, -math.inf)
    assert channel.on_delta(delta(5, 6)) == frame(5, 6)
    assert not channel.has_gap
    assert not channel.check_overdue(99.0)


def test_gap_after_a_relayed_delta_is_read_at_once() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(8, 9))
    channel.begin_read()
    channel.on_read({at(3): recovery(at(3))}, 7.0)
    channel.on_delta(delta(3, 4))
    channel.on_delta(delta(8, 9))
    assert gap(channel) == "gap"


# --- content


def test_content_is_audited_from_the_first_delta_after_a_read() -> None:
    channel = channel_at(3)
    assert channel.begin_audit() is None
    channel.on_delta(delta(3, 4))
    digest = channel.begin_audit()
    assert digest
    assert digest.since == 3
    channel.confirm_content()
    assert channel.begin_audit() is None


def test_content_that_arrives_during_an_audit_is_audited_by_the_next() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(3, 4))
    channel.begin_audit()
    channel.on_delta(delta(4, 5))
    channel.confirm_content()
    digest = channel.begin_audit()
    assert digest
    assert digest.since == 4


def test_page_of_a_repair_continues_unconfirmed_content() -> None:
    channel, expected = channel_at(3), RelayedContent(ALICE, Revision(3))
    first, second = frame(3, 4, text=text(3, 4, b"null")), frame(4, 5, text=text(4, 5))
    expected.add(first)
    expected.add(second)
    channel.on_delta(delta(3, 4, text=first.text))
    channel.on_delta(delta(8, 9))
    channel.begin_read()
    channel.on_read({at(4): recovery(at(5), frame=second)}, 7.0)
    assert channel.begin_audit() == expected.begin_audit(Revision(5))


def read_snapshot(channel: Channel, revision: int, reason: str) -> None:
    """A gap opens, and a snapshot closes it."""
    position = channel.position
    channel.expect(StoredPosition(at(revision, OTHER_EPOCH), None, 8.0))
    channel.begin_read()
    snapshot = Frame(ALICE, position, at(revision), b"s", event=SessionEvent("snapshot", reason))
    channel.on_read({position: recovery(at(revision), frame=snapshot)}, 7.0)


def test_content_before_a_snapshot_that_keeps_it_is_audited_without_the_revisions_between() -> None:
    channel, expected = channel_at(3), RelayedContent(ALICE, Revision(3))
    first, second = frame(3, 4, text=text(3, 4, b"null")), frame(8, 9, text=text(8, 9))
    expected.add(first)
    expected.add(second)
    channel.on_delta(delta(3, 4, text=first.text))
    read_snapshot(channel, 8, "too_far")
    digest = channel.begin_audit()
    assert digest
    assert (digest.since, digest.skipped, digest.balance) == (3, ((5, 8),), None)
    channel.on_delta(delta(8, 9, text=second.text))
    digest = channel.begin_audit()
    skipped = (SkippedRange(Revision(5), Revision(8)),)
    assert digest == expected.begin_audit(Revision(9))._replace(skipped=skipped)


def test_content_before_a_snapshot_is_confirmed_by_an_audit_that_began_before_it() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(3, 4))
    channel.begin_audit()
    channel.on_delta(delta(4, 5))
    read_snapshot(channel, 8, "too_far")
    channel.confirm_content()
    digest = channel.begin_audit()
    assert digest
    assert (digest.since, digest.skipped) == (4, ((6, 8),))
    channel.confirm_content()
    read_snapshot(channel, 12, "too_far")
    assert channel.begin_audit() is None


@pytest.mark.parametrize("reason", ["ahead", "epoch"])
def test_snapshot_that_replaces_what_clients_show_ends_unconfirmed_content(reason: str) -> None:
    """An account that was erased has lost all that was relayed before."""
    channel = channel_at(3)
    channel.on_delta(delta(3, 4))
    read_snapshot(channel, 8, reason)
    assert (channel.begin_audit(), channel.disowned) == (None, None)


@pytest.mark.parametrize(
    ("confirmed", "relayed", "stored", "after", "upto"), [(5, 5, 4, 4, 5), (5, 8, 4, 4, 8), (5, 8, 7, 5, 8)]
)
def test_positions_that_postgres_has_not_reached_are_disowned_with_all_that_is_unconfirmed(
    confirmed: int, relayed: int, stored: int, after: int, upto: int
) -> None:
    """A slow client can be at such a position when Postgres reaches it with other content."""
    channel = channel_at(confirmed)
    for revision in range(confirmed, relayed):
        channel.on_delta(delta(revision, revision + 1))
    read_snapshot(channel, stored, "ahead")
    assert channel.disowned == DisownedRange(EPOCH, Revision(after), Revision(upto))
    assert channel.begin_audit() is None


def test_disowned_content_is_read_from_no_position() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(3, 4))
    channel.begin_audit()
    channel.disown_content()
    assert (channel.position, gap(channel), channel.as_of) == (DISOWNED, "content", None)
    assert channel.on_delta(delta(4, 5)) is None
    assert channel.begin_read() == frozenset({DISOWNED})
    snapshot = Frame(ALICE, DISOWNED, at(5), b"s", event=SessionEvent("snapshot", "content"))
    channel.on_read({DISOWNED: recovery(at(5), frame=snapshot)}, 7.0)
    assert (channel.position, channel.has_gap) == (at(5), False)


def test_disowned_positions_are_those_since_the_last_confirmed_content() -> None:
    channel = channel_at(3)
    for first in (3, 4):
        channel.on_delta(delta(first, first + 1))
    channel.disown_content()
    assert channel.disowned
    covered = [revision for revision in range(9) if channel.disowned.covers(at(revision))]
    assert covered == [4, 5]
    assert not channel.disowned.covers(None)
    assert not channel.disowned.covers(at(4, OTHER_EPOCH))


@pytest.mark.parametrize(("epoch", "upto"), [(EPOCH, 9), (OTHER_EPOCH, 4)])
def test_disowned_positions_reach_as_far_as_a_read_has_led_clients(epoch: Epoch, upto: int) -> None:
    channel = channel_at(3)
    channel.on_delta(delta(3, 4))
    for current in (at(9, epoch), at(6, epoch)):
        channel.request_read(None)
        channel.begin_read()
        channel.on_read({None: recovery(current)}, 7.0)
    channel.disown_content()
    assert channel.disowned == DisownedRange(EPOCH, Revision(3), Revision(upto))


def test_disowned_content_is_not_relayed_from_the_buffer() -> None:
    channel = channel_at(3)
    channel.request_read(None)
    channel.begin_read()
    channel.on_delta(delta(3, 4))
    channel.disown_content()
    assert channel.on_read({None: recovery(at(3))}, 7.0) == ReadOutcome([], [])


def disown_at(channel: Channel, revision: int, epoch: Epoch = EPOCH) -> None:
    """A snapshot moves the channel to the revision, and what is relayed after it is disowned."""
    if not channel.has_gap:
        channel.expect(StoredPosition(at(1, OTHER_EPOCH if epoch == EPOCH else EPOCH), None, 8.0))
    channel.begin_read()
    current = at(revision, epoch)
    snapshot = Frame(ALICE, channel.position, current, b"s", event=SessionEvent("snapshot", "content"))
    channel.on_read({channel.position: recovery(current, frame=snapshot)}, 8.0)
    assert channel.on_delta(delta(revision, revision + 1, epoch))
    channel.disown_content()


@pytest.mark.parametrize(
    ("first", "second", "covered"),
    [(3, 5, [4, 5, 6]), (5, 3, [4, 5, 6]), (5, 5, [6])],
)
def test_disowned_positions_of_an_epoch_stay_disowned(first: int, second: int, covered: list[int]) -> None:
    channel = channel_at(1)
    disown_at(channel, first)
    disown_at(channel, second)
    assert channel.disowned
    assert [revision for revision in range(9) if channel.disowned.covers(at(revision))] == covered


def test_disowned_positions_of_a_former_epoch_are_forgotten() -> None:
    channel = channel_at(1)
    disown_at(channel, 3)
    disown_at(channel, 6, OTHER_EPOCH)
    assert channel.disowned == DisownedRange(OTHER_EPOCH, Revision(6), Revision(7))


def test_disowned_content_is_neither_audited_nor_expected_until_it_was_read_again() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(3, 4))
    channel.expect(stored(9, 2000))
    channel.disown_content()
    assert (channel.begin_audit(), channel.expected, channel.as_of) == (None, None, None)


def test_read_that_runs_while_content_is_disowned_is_continued_by_later_deltas_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The read is for a client whose position was disowned before."""
    monkeypatch.setattr(channel_module, "MAX_BUFFERED_BYTES", 10)
    text = b"y" * 10
    for current, following, position in ((4, [frame(4, 5, text=text)], 5), (3, [], 3)):
        channel = channel_at(3)
        channel.request_read(DISOWNED)
        channel.begin_read()
        channel.on_delta(delta(3, 4, text=text))
        channel.disown_content()
        channel.on_delta(delta(4, 5, text=text))
        snapshot = Frame(ALICE, DISOWNED, at(current), b"s", event=SessionEvent("snapshot", "content"))
        outcome = channel.on_read({DISOWNED: recovery(at(current), frame=snapshot)}, 7.0)
        assert outcome == ReadOutcome([snapshot, *following], following)
        assert (channel.position, channel.has_gap) == (at(position), current == 3)
