"""Settings of the recorder, from LIVEBALANCE_*."""

from typing import Annotated

from pydantic import Field

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Count, Seconds


class RecorderSettings(ServiceSettings):
    """All that a recorder is told."""

    name: str = "recorder"
    recorder_group: str = "livebalance-recorder"
    """The consumer group."""
    duplicate_window_offsets: Annotated[int, Field(ge=0)] = 10_000
    """Offsets of a partition within which a repeated transfer id is dropped."""
    batch_records: Count = 2_000
    """Transfers at most in one round of transactions."""
    session_timeout_ms: Count = 10_000
    """Without a heartbeat for as long, others take over."""
    kafka_timeout_seconds: Seconds = 30.0
    """How long one step may wait for Kafka."""
