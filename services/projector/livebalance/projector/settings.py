"""What a projector is told from outside, as LIVEBALANCE_*."""

from livebalance.runtime.settings import ServiceSettings


class ProjectorSettings(ServiceSettings):
    """Times in seconds unless the name says otherwise."""

    name: str = "projector"
    postgres: str = "postgresql://projector@127.0.0.1:5432/livebalance"
    projector_group: str = "livebalance-projector"
    session_timeout_ms: int = 6_000  # without a heartbeat for as long, others take over
    batch: int = 2000  # records of one transaction, at most
    cache: int = 100_000  # accounts kept in memory, at most
    refused_in_a_row: int = 100  # more than these, with no good record between, halt the lane
    behind_after: float = 5.0  # a lane further behind publishes only its progress
    fetch_ms: int = 200  # the longest wait of one fetch
