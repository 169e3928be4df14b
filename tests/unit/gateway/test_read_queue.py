import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.gateway.live.effects import AccountRead
from livebalance.gateway.postgres.read_queue import (
    GATHER_SECONDS,
    MAX_PAIRS,
    RESUMES_BURST,
    RESUMES_PER_SECOND,
    ReadQueue,
)
from livebalance.wire.identity import AccountId, Epoch, Position, Revision

EPOCH = Epoch("00000000000000a1")


def subscribe_read(number: int = 0) -> AccountRead:
    return AccountRead(AccountId(f"s{number}"), frozenset({None}))


def resume_read(number: int = 0, positions: int = 1) -> AccountRead:
    revisions = range(positions)
    return AccountRead(
        AccountId(f"r{number}"), frozenset(Position(EPOCH, Revision(revision)) for revision in revisions)
    )


def read_queue(per_second: int = 1_000_000, max_reads: int = 1_000_000) -> ReadQueue:
    return ReadQueue(per_second, max_reads)


def pop_accounts(queue: ReadQueue, now: float) -> list[str]:
    """The accounts of the next statement, which must be ready to go."""
    batch = queue.pop(now)
    assert isinstance(batch, list)
    return [read.account for read in batch]


def test_empty_queue_has_no_next_statement() -> None:
    assert read_queue().pop(1.0) is None


def test_reads_within_a_moment_go_together() -> None:
    queue = read_queue()
    queue.add([subscribe_read(1)], 1.0)
    assert queue.pop(1.0) == pytest.approx(GATHER_SECONDS)
    queue.add([subscribe_read(2), resume_read(3)], 1.001)
    assert pop_accounts(queue, 1.003) == ["r3", "s1", "s2"]


def test_full_statement_goes_at_once_with_resume_reads_first() -> None:
    queue = read_queue()
    queue.add([subscribe_read(1), *(resume_read(number, 2) for number in range(MAX_PAIRS // 2))], 1.0)
    assert [account[0] for account in pop_accounts(queue, 1.0)] == ["r"] * (MAX_PAIRS // 2)
    assert pop_accounts(queue, 1.0 + 2 * GATHER_SECONDS) == ["s1"]


def test_statement_is_full_with_the_most_pairs_that_wait_for_it() -> None:
    queue = read_queue()
    for now in (1.0, 2.0):  # those of the first statement do not count for the second
        queue.add([resume_read(1, MAX_PAIRS - 1)], now)
        assert queue.pop(now) == pytest.approx(GATHER_SECONDS)
        queue.add([subscribe_read(2)], now)
        assert pop_accounts(queue, now) == ["r1", "s2"]
    assert queue.pop(3.0) is None


def test_reads_beyond_the_bound_of_their_queue_are_rejected() -> None:
    queue = read_queue(max_reads=2)
    rejected = queue.add([make(number) for make in (subscribe_read, resume_read) for number in range(3)], 1.0)
    assert [read.account for read in rejected] == ["s2", "r2"]
    assert pop_accounts(queue, 2.0) == ["r0", "r1", "s0", "s1"]


def test_read_with_more_positions_than_fit_goes_alone() -> None:
    queue = read_queue()
    queue.add([resume_read(1, MAX_PAIRS + 1), subscribe_read()], 1.0)
    assert pop_accounts(queue, 1.0) == ["r1"]


def test_resume_reads_that_trickle_in_share_few_statements_and_do_not_delay_subscribe_reads() -> None:
    queue, statements, now = read_queue(), 0, 100.0
    for number in range(2_000):  # over 20 seconds
        queue.add([resume_read(number)], now)
        statements += isinstance(queue.pop(now + 2 * GATHER_SECONDS), list)
        now += 0.01
    assert statements <= RESUMES_BURST + 20 * RESUMES_PER_SECOND
    assert not isinstance(queue.pop(now), list)
    queue.add([subscribe_read()], now)
    assert isinstance(queue.pop(now + 2 * GATHER_SECONDS), list)


def test_reads_per_second_are_limited() -> None:
    queue, reads = read_queue(per_second=1000), 0
    queue.add([resume_read(number) for number in range(10_000)], 0.0)
    for millisecond in range(1000):
        while isinstance(batch := queue.pop(millisecond / 1000), list):
            reads += len(batch)
    assert 1000 <= reads <= 1000 + 3 * MAX_PAIRS


def test_reads_after_a_pause_go_at_once_up_to_a_burst() -> None:
    queue, reads = read_queue(per_second=2 * MAX_PAIRS), 0
    queue.add([resume_read(number) for number in range(10_000)], 100.0)
    while isinstance(batch := queue.pop(100.0), list):
        reads += len(batch)
    assert (reads, batch) == (3 * MAX_PAIRS, 0.5)


def test_resume_reads_beyond_their_burst_wait_and_go_with_the_next_subscribe_read() -> None:
    queue, now = read_queue(), 100.0
    for number in range(RESUMES_BURST):
        queue.add([resume_read(number)], now)
        assert pop_accounts(queue, now + GATHER_SECONDS) == [f"r{number}"]
    queue.add([resume_read(99)], now)
    assert queue.pop(now + GATHER_SECONDS) == pytest.approx(1 / RESUMES_PER_SECOND, abs=GATHER_SECONDS)
    now += 2 * GATHER_SECONDS
    queue.add([subscribe_read()], now)
    assert not isinstance(queue.pop(now), list)
    assert pop_accounts(queue, now + GATHER_SECONDS) == ["r99", "s0"]


arrivals_of_reads = st.lists(st.tuples(st.booleans(), st.integers(1, 100), st.floats(0, 0.5)), max_size=60)


@given(arrivals_of_reads, st.integers(1, 10))
def test_each_read_is_rejected_or_goes_exactly_once(
    arrivals: list[tuple[bool, int, float]], max_reads: int
) -> None:
    queue, now, queued, popped = read_queue(max_reads=max_reads), 0.0, [], []
    for number, (is_subscribe, positions, pause) in enumerate(arrivals):
        read = subscribe_read(number) if is_subscribe else resume_read(number, positions)
        now += pause
        if not queue.add([read], now):
            queued.append(read)
        if isinstance(batch := queue.pop(now), list):
            popped += batch
    while (batch := queue.pop(now)) is not None:
        if isinstance(batch, list):
            assert batch
            popped += batch
        else:
            assert 0 < batch <= 1 / RESUMES_PER_SECOND
            now += batch
    assert sorted(read.account for read in popped) == sorted(read.account for read in queued)
    assert len(popped) == len(set(popped))
