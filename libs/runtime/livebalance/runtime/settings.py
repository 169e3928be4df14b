"""Settings every service shares, from LIVEBALANCE_*; each service's own `settings.py` adds its own.

What shall not stand in an environment may be a file in the directory that LIVEBALANCE_SECRETS names,
called as the variable in lower case.
"""

import os
from functools import cached_property
from pathlib import Path
from typing import Literal, Self

from pydantic import AwareDatetime, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livebalance.runtime.broker import Broker, Login, Mechanism, trusting
from livebalance.runtime.refused import RefusedError


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

    kafka: str = "127.0.0.1:9092"  # several with commas between
    kafka_tls: bool = False
    kafka_ca: Path | None = None  # PEM; none: the authorities this system trusts
    kafka_certificate: Path | None = None  # PEM, of our own: the broker asks who we are
    kafka_key: Path | None = None  # PEM; none: it stands in the file of the certificate
    kafka_sasl: Mechanism | None = None
    kafka_user: str = ""
    kafka_password: SecretStr = SecretStr("")
    transfers_topic: str = "transfers"
    balances_topic: str = "account-balances"
    start: Literal["beginning"] | AwareDatetime = "beginning"  # where a topic nobody has read yet is begun
    values: Literal["confluent", "avro", "json"] = "confluent"  # of both topics
    registry: SecretStr | None = None  # URL of a schema registry; none: the schemas that come with the code
    registry_ca: Path | None = None
    redis: str = "redis://127.0.0.1:6379/0"
    channel_prefix: str = "livebalance:"
    currency: str | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.kafka_ca or self.kafka_certificate or self.kafka_key) and not self.kafka_tls:
            raise ValueError("certificates without kafka_tls would not be used: set it, or leave them out")
        if bool(self.kafka_sasl) != bool(self.kafka_user):
            raise ValueError("kafka_sasl and kafka_user go together")
        return self

    @cached_property
    def broker(self) -> Broker:
        """Raises RefusedError when a file of certificates cannot be used."""
        try:
            tls = trusting(self.kafka_ca, self.kafka_certificate, self.kafka_key) if self.kafka_tls else None
        except OSError as why:
            raise RefusedError(f"certificates for Kafka: {why}") from why
        login = (
            Login(self.kafka_sasl, self.kafka_user, self.kafka_password.get_secret_value())
            if self.kafka_sasl
            else None
        )
        return Broker(self.kafka, tls, login)
