"""Settings of the feed, from LIVEBALANCE_*; what it feeds is said on its command line."""

from livebalance.runtime.settings import ServiceSettings


class FeedSettings(ServiceSettings):
    """All that a feed is told of its surroundings."""

    name: str = "feed"
    deadline: float = 30.0  # seconds that one step may wait for Kafka
