"""The history keeps recent frames within its bound, and returns chains of them."""

from livebalance.gateway.live.history import FRAME_OVERHEAD_BYTES, MAX_CHAIN_FRAMES, MAX_SNAPSHOT_AGE, History
from livebalance.gateway.live.outbox import Frame
from livebalance.wire.identity import Position
from tests.unit.gateway.test_outbox import ALICE, BOB, data_frame, position

SIZE = FRAME_OVERHEAD_BYTES + 10  # of a frame of `data_frame`


def history_of(frames: int, *revisions: int) -> History:
    """A history with room for that many frames, and frames of alice at these revisions."""
    history = History(frames * SIZE)
    for revision in revisions:
        history.store(data_frame(ALICE, revision))
    return history


def chain(history: History, start: int, end: int) -> list[int] | None:
    frames = history.chain(ALICE, position(start), position(end))
    return None if frames is None else [frame.before.revision for frame in frames if frame.before]


def test_chain_leads_from_a_position_to_another() -> None:
    history = history_of(9, 1, 2, 3)
    assert chain(history, 1, 4) == [1, 2, 3]
    assert chain(history, 2, 3) == [2]
    assert chain(history, 2, 2) == []
    assert chain(history, 0, 4) is None
    assert chain(history, 1, 9) is None
    assert history.chain(BOB, position(1), position(2)) is None


def test_history_of_the_size_of_its_bound_drops_nothing_and_a_byte_more_drops_the_oldest_frame() -> None:
    history = history_of(3, 1, 2, 3)
    assert chain(history, 1, 4) == [1, 2, 3]
    history.store(data_frame(ALICE, 4, size=11))
    assert chain(history, 3, 5) == [3, 4]
    assert chain(history, 2, 5) is None
    for revision in range(5, 50):
        history.store(data_frame(ALICE, revision))
    assert chain(history, 47, 50) == [47, 48, 49]
    assert chain(history, 46, 50) is None


def test_frame_of_the_same_position_replaces_the_former_and_its_size() -> None:
    history = history_of(3, 1, 2)
    for _ in range(9):
        history.store(data_frame(ALICE, 2))
    history.store(data_frame(ALICE, 3))
    assert chain(history, 1, 4) == [1, 2, 3]
    history.store(data_frame(ALICE, 3))
    history.store(data_frame(ALICE, 4))
    assert chain(history, 1, 5) is None
    assert chain(history, 2, 5) == [2, 3, 4]


def test_last_frame_and_frame_without_content_are_not_stored() -> None:
    history = history_of(9)
    history.store(Frame(ALICE, position(1), position(2), b"", is_last=False))
    history.store(Frame(ALICE, position(2), position(3), b"last", is_last=True))
    assert chain(history, 1, 2) is None
    assert chain(history, 2, 3) is None


def test_chain_has_at_most_64_frames() -> None:
    history = history_of(99, *range(1, 80))
    assert len(chain(history, 1, 1 + MAX_CHAIN_FRAMES) or []) == MAX_CHAIN_FRAMES
    assert chain(history, 1, 2 + MAX_CHAIN_FRAMES) is None


def test_snapshot_is_sent_again_until_it_is_five_seconds_old() -> None:
    history, end = History(9999), Position(position(0).epoch, position(7).revision)
    history.now = 100.0
    history.store(Frame(ALICE, None, end, b"snapshot"))
    history.now = 100.0 + MAX_SNAPSHOT_AGE
    assert history.chain(ALICE, None, end) is not None
    history.now += 0.001
    assert history.chain(ALICE, None, end) is None


def test_recoveries_are_counted_until_they_are_drained() -> None:
    history = History(9)
    assert history.drain_recoveries() == 0
    for _ in range(3):
        history.count_recovery()
    assert history.drain_recoveries() == 3
    assert history.drain_recoveries() == 0


def test_forgotten_frames_are_not_sent_again() -> None:
    history = history_of(9, 1, 2)
    history.store(data_frame(BOB, 1))
    history.forget(ALICE)
    assert chain(history, 1, 3) is None
    assert history.chain(BOB, position(1), position(2))
    history.now = 1.0
    for revision in (1, 2):
        history.store(data_frame(ALICE, revision))
    assert chain(history, 1, 3) == [1, 2]


def test_history_keeps_no_forgotten_account_longer_than_its_frames() -> None:
    history = history_of(1, 1)
    history.forget(ALICE)
    history.now = 1.0
    history.store(data_frame(BOB, 1))
    history.forget(BOB)
    assert list(history._forgotten) == [BOB]


def test_account_stays_forgotten_while_its_frames_are_stored() -> None:
    history = history_of(9, 1)
    history.forget(ALICE)
    history.now = 1.0
    history.forget(BOB)
    assert chain(history, 1, 2) is None


def test_account_can_be_forgotten_by_an_empty_history() -> None:
    history = history_of(9)
    history.forget(ALICE)
    assert chain(history, 1, 2) is None
