"""What a projector is told from outside, as LIVEBALANCE_*."""

from typing import Annotated

from pydantic import Field, SecretStr

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Count, Postgres, Seconds


class ProjectorSettings(ServiceSettings):
    """Times in seconds unless the name says otherwise."""

    name: str = "projector"
    postgres: Postgres = SecretStr("postgresql://projector@127.0.0.1:5432/livebalance")
    """Where the projection is, for a member of the role `projector`."""
    projector_group: str = "livebalance-projector"
    """The consumer group."""
    group_instance_id: str | None = None
    """Our own name in the group: who is back within the session's timeout has its lanes still."""
    session_timeout_ms: Count = 6_000
    """Without a heartbeat for as long, others take over."""
    batch_records: Count = 2000
    """Records of one transaction, at most."""
    cache_accounts: Count = 100_000
    """Accounts kept in memory, at most."""
    max_consecutive_rejects: Annotated[int, Field(ge=0)] = 100
    """More than these, with no good record between, halt the lane."""
    catch_up_threshold_seconds: Seconds = 5.0
    """A lane further behind publishes only its progress."""
    fetch_wait_ms: Count = 200
    """The longest wait of one fetch."""
