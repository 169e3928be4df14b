"""Settings of the recorder."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Count, Seconds, SecretPostgresUrl


class RecorderSettings(ServiceSettings):
    """Settings of the recorder, beside those of all services."""

    name: str = "recorder"
    postgres: SecretPostgresUrl = SecretStr("postgresql://recorder@127.0.0.1:5432/livebalance")
    """URL of the projection's database, for a member of the role `recorder`."""
    recorder_group: str = "livebalance-recorder"
    """Kafka consumer group of the recorders."""
    duplicate_window_offsets: Annotated[int, Field(ge=0)] = 10_000
    """Offsets within which a repeated transfer id counts as a duplicate. 0: no id is remembered."""
    batch_records: Count = 2_000
    """Maximum transfers of one fetch. Each partition commits its part in its own transaction."""
    max_consecutive_rejects: Annotated[int, Field(ge=0)] = 100
    """Maximum rejected transfers in a row that are quarantined. The next rejected transfer halts the
    partition. 0: the first rejected transfer halts it."""
    session_timeout_ms: Count = 10_000
    """Milliseconds without a heartbeat after which other recorders take over the partitions."""
    accounts_directory: Path | None = None
    """Directory in which the accounts of each partition are saved, so that a restart reads only the newest
    balances. Recorders of one machine may share it. None: a temporary directory, and a restart restores all
    accounts from Kafka."""
    kafka_timeout_seconds: Seconds = 30.0
    """Maximum seconds of each step that waits for Kafka, such as a transaction. A restore may take longer,
    but not without progress for this time."""
