"""Settings every service shares, from LIVEBALANCE_*; each service's own `settings.py` adds its own.

What shall not stand in an environment may be a file in the directory that LIVEBALANCE_SECRETS names,
called as the variable in lower case.
"""

import os
from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Addresses are of loopback by default: nothing listens or connects elsewhere unless told to."""

    model_config = SettingsConfigDict(
        env_prefix="LIVEBALANCE_",
        secrets_dir=os.environ.get("LIVEBALANCE_SECRETS"),
        extra="ignore",
        frozen=True,
    )

    name: str = "livebalance"
    log: Literal["json", "text"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    http_host: str = "127.0.0.1"
    http_port: int = 0  # 0: no health endpoint

    kafka: str = "127.0.0.1:9092"
    transfers_topic: str = "transfers"
    balances_topic: str = "account-balances"
    redis: str = "redis://127.0.0.1:6379/0"
    channel_prefix: str = "livebalance:"
    currency: str | None = None
