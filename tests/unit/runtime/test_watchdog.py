from collections.abc import Mapping

from livebalance.runtime.kafka.stall_detector import SilenceTimer

ONE, TWO = "one", "two"


def silences(dog: SilenceTimer[str], *looks: tuple[float, Mapping[str, int | None]]) -> list[set[str]]:
    return [dog.silent(answered, now) for now, answered in looks]


def test_a_partition_that_answers_is_not_silent() -> None:
    dog = SilenceTimer[str](3, 0)
    assert silences(dog, *((n, {ONE: n}) for n in range(20))) == [set()] * 20


def test_a_partition_whose_answer_stands_still_is_silent_after_the_patience() -> None:
    dog = SilenceTimer[str](3, 0)
    found = silences(dog, *((n, {ONE: 7, TWO: n}) for n in range(6)))
    assert found == [set(), set(), set(), {ONE}, {ONE}, {ONE}]


def test_a_partition_that_never_answered_is_silent_too() -> None:
    dog = SilenceTimer[str](3, 0)
    assert silences(dog, *((n, {ONE: None}) for n in range(4)))[-1] == {ONE}


def test_a_process_that_was_paused_has_not_waited() -> None:
    dog = SilenceTimer[str](3, 0)
    assert silences(dog, (0, {ONE: 7}), (600, {ONE: 7})) == [set(), set()]


def test_a_partition_that_was_lost_and_came_back_starts_anew() -> None:
    dog = SilenceTimer[str](2, 0)
    looks = [(0, {ONE: 7}), (1, {ONE: 7}), (2, {}), (3, {ONE: 7}), (4, {ONE: 7}), (5, {ONE: 7})]
    assert silences(dog, *looks) == [set(), set(), set(), set(), set(), {ONE}]
