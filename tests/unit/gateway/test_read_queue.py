"""Reads wait in two lines; a statement is full, or has waited for more."""

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


def join(number: int = 0) -> AccountRead:
    return AccountRead(AccountId(f"j{number}"), frozenset({None}))


def resume(number: int = 0, positions: int = 1) -> AccountRead:
    afters = [Position(EPOCH, Revision(one)) for one in range(positions)]
    return AccountRead(AccountId(f"r{number}"), frozenset(afters))


def turns(per_second: int = 1_000_000, waiting: int = 1_000_000) -> ReadQueue:
    return ReadQueue(per_second, waiting)


def test_nobody_waits_for_nobody() -> None:
    assert turns().pop(1.0) is None


def test_one_waits_a_moment_for_others_and_they_go_together() -> None:
    mine = turns()
    mine.add([join(1)], 1.0)
    assert mine.pop(1.0) == pytest.approx(GATHER_SECONDS)
    mine.add([join(2), resume(3)], 1.001)
    found = mine.pop(1.003)
    assert isinstance(found, list)
    assert [one.account for one in found] == ["r3", "j1", "j2"]


def test_a_full_statement_goes_at_once_and_resumes_first() -> None:
    mine = turns()
    mine.add([join(1), *(resume(one, 2) for one in range(MAX_PAIRS // 2))], 1.0)
    found = mine.pop(1.0)
    assert isinstance(found, list)
    assert [one.account[0] for one in found] == ["r"] * (MAX_PAIRS // 2)
    found = mine.pop(1.0 + 2 * GATHER_SECONDS)
    assert isinstance(found, list)
    assert [one.account for one in found] == ["j1"]


def test_one_with_more_positions_than_fit_goes_alone() -> None:
    mine = turns()
    mine.add([resume(1, MAX_PAIRS + 1), join()], 1.0)
    found = mine.pop(1.0)
    assert isinstance(found, list)
    assert len(found) == 1


def test_resumes_that_trickle_in_share_few_statements_and_joins_do_not_wait_for_them() -> None:
    mine, statements, now = turns(), 0, 100.0
    for number in range(2_000):  # over 20 seconds
        mine.add([resume(number)], now)
        statements += isinstance(mine.pop(now + 2 * GATHER_SECONDS), list)
        now += 0.01
    assert statements <= RESUMES_BURST + 20 * RESUMES_PER_SECOND
    assert not isinstance(mine.pop(now), list)
    mine.add([join()], now)
    assert isinstance(mine.pop(now + 2 * GATHER_SECONDS), list)


def test_so_many_accounts_are_read_in_a_second() -> None:
    mine, read = turns(per_second=1000), 0
    mine.add([resume(one) for one in range(10_000)], 0.0)
    for tick in range(1000):
        while isinstance(found := mine.pop(tick / 1000), list):
            read += len(found)
    assert 1000 <= read <= 1000 + 3 * MAX_PAIRS


asked = st.lists(st.tuples(st.booleans(), st.integers(1, 100), st.floats(0, 0.5)), max_size=60)


@given(asked, st.integers(1, 10))
def test_each_is_refused_or_goes_once_and_none_waits_for_ever(
    some: list[tuple[bool, int, float]], waiting: int
) -> None:
    mine, now, expected, seen = turns(waiting=waiting), 0.0, [], []
    for number, (joins, positions, pause) in enumerate(some):
        one = join(number) if joins else resume(number, positions)
        now += pause
        if not mine.add([one], now):
            expected.append(one)
        if isinstance(found := mine.pop(now), list):
            seen += found
    while (turn := mine.pop(now)) is not None:
        if isinstance(turn, list):
            assert turn
            seen += turn
        else:
            assert 0 < turn <= 1 / RESUMES_PER_SECOND
            now += turn
    assert sorted(one.account for one in seen) == sorted(one.account for one in expected)
    assert len(seen) == len(set(seen))
