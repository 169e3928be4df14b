"""Topics that a projection can, or cannot, be built from."""

import pytest

from livebalance.runtime.kafka.topics import SourceTopics, topics_error

GOOD = {
    "t": {"retention.ms": "-1", "retention.bytes": "-1", "cleanup.policy": "delete"},
    "b": {"retention.ms": "604800000", "cleanup.policy": "compact"},
}


@pytest.mark.parametrize(
    ("counts", "changed", "text"),
    [
        ({"t": 6, "b": 5}, {}, "must have the same number"),
        ({"t": 6, "b": 6}, {"t": {"retention.ms": "604800000"}}, "set retention.ms=-1"),
        ({"t": 6, "b": 6}, {"t": {"retention.bytes": "1000"}}, "set retention.bytes=-1"),
        ({"t": 6, "b": 6}, {"t": {"cleanup.policy": "compact,delete"}}, "set cleanup.policy=delete"),
        ({"t": 6, "b": 6}, {"b": {"cleanup.policy": "delete"}}, "set cleanup.policy=compact"),
    ],
)
def test_unsuitable_topics_have_an_error_of_one_line(
    counts: dict[str, int], changed: dict[str, dict[str, str]], text: str
) -> None:
    configs = {name: {**config, **changed.get(name, {})} for name, config in GOOD.items()}
    error = topics_error(SourceTopics("t", "b", counts, configs))
    assert error is not None
    assert text in error
    assert "\n" not in error


def test_suitable_topics_have_no_error() -> None:
    assert topics_error(SourceTopics("t", "b", {"t": 6, "b": 6}, GOOD)) is None
