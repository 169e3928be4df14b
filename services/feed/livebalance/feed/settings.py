"""Settings of the feed, from LIVEBALANCE_*; what it feeds is said on its command line."""

from pydantic import SecretStr

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Seconds


class FeedSettings(ServiceSettings):
    """All that a feed is told of its surroundings."""

    name: str = "feed"
    demo_secret: SecretStr | None = None
    """With it, tokens for the demo are given to whoever asks."""
    kafka_timeout_seconds: Seconds = 30.0
    """How long one step may wait for Kafka."""
