"""What the topics must be."""

import pytest

from livebalance.runtime.kafka.topics import Source, unfit

GOOD = {
    "t": {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"},
    "b": {"retention.ms": "604800000", "cleanup.policy": "compact"},
}


@pytest.mark.parametrize(
    ("counts", "changed", "words"),
    [
        ({"t": 6, "b": 5}, {}, "must have the same number"),
        ({"t": 6, "b": 6}, {"t": {"retention.ms": "604800000"}}, "set retention.ms=-1"),
        ({"t": 6, "b": 6}, {"t": {"retention.bytes": "1000"}}, "set retention.bytes=-1"),
        ({"t": 6, "b": 6}, {"t": {"cleanup.policy": "compact,delete"}}, "set cleanup.policy=delete"),
        ({"t": 6, "b": 6}, {"b": {"cleanup.policy": "delete"}}, "set cleanup.policy=compact"),
    ],
)
def test_unfit_topics_are_told_in_one_line(
    counts: dict[str, int], changed: dict[str, dict[str, str]], words: str
) -> None:
    configs = {name: {**config, **changed.get(name, {})} for name, config in GOOD.items()}
    said = unfit(Source("t", "b", counts, configs))
    assert said is not None
    assert words in said
    assert "\n" not in said


def test_fit_topics() -> None:
    assert unfit(Source("t", "b", {"t": 6, "b": 6}, GOOD)) is None
