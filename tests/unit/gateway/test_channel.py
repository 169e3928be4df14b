"""The channel of an account: which deltas it relays, when it has a gap, and what it reads."""

import pytest

from livebalance.gateway.live import channel as channel_module
from livebalance.gateway.live.channel import (
    MAX_POSITIONS_PER_READ,
    Channel,
    ReadOutcome,
    StoredPosition,
    continuation,
    delta_frame,
)
from livebalance.gateway.live.outbox import Frame
from livebalance.wire.delta import Delta
from livebalance.wire.identity import Position
from livebalance.wire.timestamp import Millis
from tests.unit.gateway.channels import (
    LANE,
    OTHER_EPOCH,
    at,
    channel_at,
    delta,
    frame,
    gap,
    reading,
    recovery,
    stored,
)
from tests.unit.gateway.harness import ALICE

# --- frames


def test_frame_of_a_delta_says_what_the_delta_says() -> None:
    assert delta_frame(ALICE, delta(1, 2)) == Frame(ALICE, at(1), at(2), b"x", mergeable=True)
    assert delta_frame(ALICE, delta(1, 2, header_only=True)) == Frame(ALICE, at(1), at(2), b"")
    gone = Delta(LANE, at(1), at(2), b"x", gone=True)
    assert delta_frame(ALICE, gone) == Frame(ALICE, at(1), at(2), b"")


@pytest.mark.parametrize(
    ("frames", "following"),
    [
        ([frame(3, 4), frame(4, 6)], [0, 1]),
        ([frame(1, 2), frame(3, 4)], [1]),  # the first was read already
        ([frame(1, 3), frame(3, 4)], [1]),
        ([frame(4, 5), frame(3, 4)], []),
        ([frame(3, 4, text=b""), frame(3, 4)], []),
        ([frame(1, 2, OTHER_EPOCH), frame(3, 4)], []),
        ([frame(3, 4), frame(5, 6), frame(4, 5)], [0]),
        ([], []),
    ],
)
def test_continuation_ends_at_the_first_gap(frames: list[Frame], following: list[int]) -> None:
    assert continuation(at(3), frames) == [frames[index] for index in following]


# --- reads


def test_new_channel_has_nothing() -> None:
    channel = Channel(ALICE, 5.0)
    assert (channel.account, channel.created_at, channel.subscribed) == (ALICE, 5.0, False)
    assert (channel.position, channel.lane, channel.as_of, channel.expected) == (None, None, None, None)
    assert gap(channel) is None
    assert channel.on_read_failed() == frozenset()


def test_first_read_waits_for_the_subscription_and_a_second_for_the_first() -> None:
    channel = Channel(ALICE, 5.0)
    assert channel.begin_read() is None
    channel.request_read(None)
    assert channel.begin_read() is None
    channel.subscribed = True
    assert channel.begin_read() == frozenset({None})
    channel.request_read(None)  # the running read covers it
    channel.request_read(at(1))
    assert channel.begin_read() is None
    assert channel.on_read_failed() == frozenset({None})
    assert channel.begin_read() == frozenset({at(1)})
    assert channel.on_read_failed() == frozenset({at(1)})
    assert channel.begin_read() is None


def test_channel_with_a_position_reads_without_a_subscription() -> None:
    channel = channel_at(3)
    channel.subscribed = False
    channel.request_read(at(1))
    assert channel.begin_read() == frozenset({at(1)})


def test_read_has_a_bounded_number_of_positions_and_that_of_the_gap_is_among_them() -> None:
    channel = channel_at(3)
    for revision in range(100, 5000):
        channel.request_read(at(revision))
    channel.on_delta(delta(9, 10))
    first = channel.begin_read()
    assert first is not None
    assert len(first) == MAX_POSITIONS_PER_READ
    assert at(3) in first
    channel.on_read({position: recovery(at(10)) for position in first}, 8.0)
    second = channel.begin_read()
    assert second is not None
    assert len(second) == MAX_POSITIONS_PER_READ
    assert not first & second


def test_read_of_a_new_channel_gives_it_its_position_and_buffered_deltas_continue_from_there() -> None:
    channel = reading()
    assert channel.on_delta(delta(2, 3)) is None
    assert channel.on_delta(delta(3, 4)) is None
    assert channel.lane == LANE
    outcome = channel.on_read({None: recovery(at(3))}, 7.0)
    assert outcome == ReadOutcome([frame(3, 4)], [frame(3, 4)])
    assert (channel.position, channel.as_of, gap(channel)) == (at(4), 1000, None)
    assert channel.on_delta(delta(4, 5)) == frame(4, 5)


def test_read_of_a_new_channel_takes_the_position_of_the_account_for_a_page() -> None:
    channel = reading(at(1))
    channel.on_read({at(1): recovery(at(9), at(2), frame(1, 2))}, 7.0)
    assert (channel.position, gap(channel)) == (at(9), None)


def test_read_takes_the_lane_if_the_account_has_one() -> None:
    channel = channel_at(3)
    assert channel.lane == LANE
    channel.request_read(at(1))
    channel.begin_read()
    channel.on_read({at(1): recovery(at(3))._replace(lane=None)}, 7.0)
    assert channel.lane == LANE


def test_read_relays_what_closes_the_gap() -> None:
    channel = channel_at(3)
    assert channel.on_delta(delta(5, 6)) is None
    assert gap(channel) == "gap"
    assert channel.begin_read() == frozenset({at(3)})
    channel.on_delta(delta(6, 7))
    outcome = channel.on_read({at(3): recovery(at(6), at(6), frame(3, 6))}, 8.0)
    assert outcome == ReadOutcome([frame(3, 6), frame(6, 7)], [frame(6, 7)])
    assert (channel.position, channel.has_gap) == (at(7), False)
    assert channel.begin_read() is None


def test_read_for_a_client_at_the_position_of_the_channel_relays_nothing() -> None:
    channel = channel_at(3)
    channel.request_read(at(3))
    channel.begin_read()
    assert channel.on_read({at(3): recovery(at(5), at(5), frame(3, 5))}, 8.0) == ReadOutcome([], [])
    assert (channel.position, channel.has_gap) == (at(3), False)


def test_read_of_a_gap_that_missed_nothing_relays_nothing() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(8, 9))
    channel.begin_read()
    assert channel.on_read({at(3): recovery(at(3))}, 8.0) == ReadOutcome([], [])
    assert (channel.position, channel.has_gap) == (at(3), False)


def test_too_many_bytes_during_the_read_of_a_gap_leave_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MAX_BUFFERED_BYTES", 10)
    channel = channel_at(3)
    channel.on_delta(delta(4, 5))
    channel.uncounted_gap = None
    channel.begin_read()
    channel.on_delta(delta(5, 6, text=b"y" * 11))
    channel.on_read({at(3): recovery(at(5), at(5), frame(3, 5))}, 8.0)
    assert (channel.position, gap(channel)) == (at(5), "overflow")


def test_failed_read_of_a_gap_is_repeated() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(5, 6))
    assert channel.begin_read() == frozenset({at(3)})
    assert channel.on_read_failed() == frozenset({at(3)})
    assert channel.begin_read() == frozenset({at(3)})


def test_deltas_before_a_failed_read_are_not_kept() -> None:
    channel = reading()
    channel.on_delta(delta(3, 4))
    channel.on_read_failed()
    channel.request_read(None)
    channel.begin_read()
    assert channel.on_read({None: recovery(at(3))}, 7.0) == ReadOutcome([], [])


def test_page_leaves_a_gap_at_its_end() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(8, 9))
    channel.uncounted_gap = None
    channel.begin_read()
    outcome = channel.on_read({at(3): recovery(at(9), at(5), frame(3, 5))}, 8.0)
    assert outcome.to_relay == [frame(3, 5)]
    assert (channel.position, gap(channel)) == (at(5), "pages")
    assert channel.begin_read() == frozenset({at(5)})


def test_too_many_bytes_during_a_read_need_another_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MAX_BUFFERED_BYTES", 10)
    for size, lost in ((5, False), (6, True)):
        channel = reading()
        for number in (3, 4):
            channel.on_delta(delta(number, number + 1, text=b"y" * size))
        outcome = channel.on_read({None: recovery(at(3))}, 7.0)
        assert len(outcome.continuation) == (0 if lost else 2)
        assert (channel.position, gap(channel)) == (at(3 if lost else 5), "overflow" if lost else None)


def test_bytes_of_a_former_read_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "MAX_BUFFERED_BYTES", 10)
    channel = reading()
    for revision in (3, 4):
        channel.on_delta(delta(revision, revision + 1, text=b"y" * 8))
        channel.on_read_failed()
        channel.request_read(None)
        channel.begin_read()
    channel.on_delta(delta(5, 6, text=b"y" * 10))
    assert len(channel.on_read({None: recovery(at(5))}, 7.0).to_relay) == 1


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        (at(3), None),
        (at(2), "back"),
        (at(4), None),
        (at(3, OTHER_EPOCH), "epoch"),
        (at(1, OTHER_EPOCH), "epoch"),
    ],
)
def test_read_for_clients_shows_a_change_of_epoch_and_lost_commits(
    current: Position, reason: str | None
) -> None:
    channel = channel_at(3)
    channel.request_read(at(1))
    channel.begin_read()
    channel.on_read({at(1): recovery(current)}, 8.0)
    assert (channel.position, gap(channel)) == (at(3), reason)


def test_read_that_is_older_than_what_was_relayed_meanwhile_is_no_gap() -> None:
    channel = channel_at(3)
    channel.request_read(at(1))
    channel.begin_read()
    channel.on_delta(delta(3, 4))
    channel.on_read({at(1): recovery(at(3))}, 8.0)
    assert (channel.position, gap(channel)) == (at(4), None)


# --- deltas


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (delta(2, 3), None),
        (delta(1, 3), None),
        (delta(4, 5), "gap"),
        (delta(2, 4), "gap"),
        (delta(3, 4, header_only=True), "header_only"),
        (delta(3, 4, OTHER_EPOCH), "gap"),
        (delta(1, 2, OTHER_EPOCH), "gap"),
    ],
)
def test_delta_that_is_not_the_next_is_not_relayed(received: Delta, reason: str | None) -> None:
    channel = channel_at(3)
    assert channel.on_delta(received) is None
    assert (channel.position, gap(channel)) == (at(3), reason)


def test_channel_relays_nothing_before_its_first_read_and_during_a_gap() -> None:
    channel = Channel(ALICE, 5.0)
    assert channel.on_delta(delta(0, 1)) is None
    assert (channel.lane, channel.has_gap) == (LANE, False)
    channel = channel_at(3)
    channel.on_delta(delta(4, 5))
    assert channel.on_delta(delta(3, 4)) is None
    assert channel.position == at(3)


def test_first_reason_of_a_gap_is_counted() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(4, 5, header_only=True))
    channel.on_audit(at(3), StoredPosition(at(2), None, 8.0))
    assert gap(channel) == "header_only"


# --- completeness


def test_channel_at_the_stored_position_is_complete_as_of_its_time() -> None:
    channel = channel_at(3)
    for as_of, complete in ((2000, 2000), (1500, 2000), (None, 2000), (2500, 2500)):
        channel.expect(stored(3, as_of))
        assert (channel.as_of, channel.expected) == (complete, None)
    channel.expect(stored(2, 3000))
    assert channel.as_of == 3000


def test_channel_without_a_time_takes_the_first_that_is_known() -> None:
    channel = reading()
    channel.on_read({None: recovery(at(3), as_of=None)}, 7.0)
    assert channel.as_of is None
    channel.expect(stored(3, 0))
    assert channel.as_of == 0


def test_channel_behind_the_stored_position_takes_its_time_over_once_it_is_there() -> None:
    channel = channel_at(3)
    channel.expect(stored(5, 2000))
    channel.expect(stored(6, 3000, 9.0))
    assert (channel.as_of, channel.expected) == (1000, stored(5, 2000))
    channel.on_delta(delta(3, 4))
    assert (channel.as_of, channel.expected) == (1000, stored(5, 2000))
    channel.on_delta(delta(4, 5))
    assert (channel.as_of, channel.expected) == (2000, None)


def test_channel_that_was_not_read_expects_nothing() -> None:
    channel = Channel(ALICE, 5.0)
    channel.expect(stored(3, 1000))
    assert (channel.expected, channel.has_gap) == (None, False)


def test_stored_position_of_another_epoch_is_a_gap() -> None:
    channel = channel_at(3)
    channel.expect(StoredPosition(at(3, OTHER_EPOCH), Millis(2000), 8.0))
    assert (channel.as_of, channel.expected, gap(channel)) == (1000, None, "epoch")


def test_read_of_another_epoch_forgets_until_when_the_channel_was_complete() -> None:
    channel = channel_at(3)
    channel.expect(StoredPosition(at(3, OTHER_EPOCH), None, 8.0))
    channel.begin_read()
    new = at(9, OTHER_EPOCH)
    channel.on_read({at(3): recovery(new, new, Frame(ALICE, at(3), new, b"s"), as_of=None)}, 9.0)
    assert (channel.position, channel.as_of, channel.has_gap) == (new, None, False)


def test_read_of_the_same_epoch_keeps_until_when_the_channel_was_complete() -> None:
    channel = channel_at(3)
    channel.on_delta(delta(4, 5))
    channel.begin_read()
    channel.on_read({at(3): recovery(at(5), at(5), frame(3, 5), as_of=None)}, 9.0)
    assert (channel.position, channel.as_of) == (at(5), 1000)


def test_read_expects_what_it_found_from_the_time_when_it_ended() -> None:
    channel = channel_at(3)
    channel.request_read(at(1))
    channel.begin_read()
    channel.on_read({at(1): recovery(at(5), as_of=2000)}, 9.0)
    assert channel.expected == stored(5, 2000, 9.0)


def test_read_that_closes_a_gap_forgets_what_was_expected() -> None:
    channel = channel_at(3)
    channel.expect(stored(4, 2000))
    channel.on_delta(delta(4, 5))
    channel.begin_read()
    channel.on_read({at(3): recovery(at(5), at(5), frame(3, 5), as_of=1500)}, 9.0)
    assert (channel.expected, channel.as_of) == (None, 1500)


@pytest.mark.parametrize(
    ("asked", "found", "reason", "as_of"),
    [
        (at(3), at(3), None, 2000),
        (at(3), at(2), "back", 1000),
        (at(2), at(2), None, 2000),
        (at(3, OTHER_EPOCH), at(2), None, 2000),
        (at(3), at(2, OTHER_EPOCH), "epoch", 1000),
    ],
)
def test_audit_finds_lost_commits_and_other_epochs(
    asked: Position, found: Position, reason: str | None, as_of: int
) -> None:
    channel = channel_at(3)
    channel.on_audit(asked, StoredPosition(found, Millis(2000), 8.0))
    assert (gap(channel), channel.as_of) == (reason, as_of)


def test_expected_position_becomes_a_gap_when_it_is_overdue() -> None:
    channel = channel_at(3)
    assert not channel.check_overdue(99.0)
    channel.expect(stored(5, 2000, seen_at=8.0))
    assert not channel.check_overdue(7.9)
    assert gap(channel) is None
    assert channel.check_overdue(8.0)
    assert gap(channel) == "audit"
    assert not channel.check_overdue(9.0)  # the gap is open already
