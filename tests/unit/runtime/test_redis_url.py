"""URLs of Redis servers and clusters."""

import pytest

from livebalance.runtime.redis.url import RedisNode, RedisUrl


@pytest.mark.parametrize(
    ("url", "parsed"),
    [
        ("redis://host:6380/0", RedisUrl((RedisNode("host", 6380),))),
        ("redis://host", RedisUrl((RedisNode("host", 6379),))),
        ("rediss://[::1]:7000", RedisUrl((RedisNode("::1", 7000),), tls=True)),
        ("redis://:a%40b@host", RedisUrl((RedisNode("host", 6379),), login=("default", "a@b"))),
        ("redis://me:pass@host/1", RedisUrl((RedisNode("host", 6379),), login=("me", "pass"))),
        ("redis://me@host", RedisUrl((RedisNode("host", 6379),))),
        ("redis+cluster://one", RedisUrl((RedisNode("one", 6379),), clustered=True)),
        (
            "rediss+cluster://me:p:w@one:1,other,[::1]:3/",
            RedisUrl(
                (RedisNode("one", 1), RedisNode("other", 6379), RedisNode("::1", 3)),
                clustered=True,
                tls=True,
                login=("me", "p:w"),
            ),
        ),
    ],
)
def test_url_is_parsed(url: str, parsed: RedisUrl) -> None:
    assert RedisUrl.parse(url) == parsed


@pytest.mark.parametrize(
    "url",
    [
        "host:6379",
        "http://host",
        "redis:/host",
        "redis://one,other",
        "redis+cluster://one:x",
        "redis://a:99999",
    ],
)
def test_invalid_url_is_rejected(url: str) -> None:
    with pytest.raises(ValueError):
        RedisUrl.parse(url)


def test_password_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(RedisUrl.parse("redis://:s3cret@host"))
