"""Settings of the feed, from LIVEBALANCE_*; what it feeds is said on its command line."""

from pydantic import SecretStr

from livebalance.runtime.settings import ServiceSettings


class FeedSettings(ServiceSettings):
    """All that a feed is told of its surroundings."""

    name: str = "feed"
    demo_secret: SecretStr | None = None  # with it, tokens for the demo are given to whoever asks
    deadline: float = 30.0  # seconds that one step may wait for Kafka
