"""Settings of the recorder, from LIVEBALANCE_*."""

from livebalance.runtime.settings import ServiceSettings


class RecorderSettings(ServiceSettings):
    """All that a recorder is told."""

    name: str = "recorder"
    recorder_group: str = "livebalance-recorder"
    duplicate_window: int = 10_000  # offsets of a partition within which a repeated transfer id is dropped
    batch: int = 2_000  # transfers at most in one round of transactions
    session_timeout_ms: int = 10_000  # without a heartbeat for as long, others take over
    deadline: float = 30.0  # seconds that one step may wait for Kafka
