"""Settings of the feed. Its command line says which transfers it makes."""

from pydantic import SecretStr

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Seconds


class FeedSettings(ServiceSettings):
    """Settings of the feed, beside those of all services."""

    name: str = "feed"
    demo_secret: SecretStr | None = None
    """Secret that signs demo tokens. Any client can request a demo token. None: the feed issues no tokens."""
    kafka_timeout_seconds: Seconds = 30.0
    """Maximum seconds of each step that waits for Kafka, such as a transaction."""
