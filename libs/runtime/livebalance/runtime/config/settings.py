"""Settings every service shares, from LIVEBALANCE_*; each service's own `settings.py` adds its own.

What shall not stand in an environment may be a file in the directory that LIVEBALANCE_SECRETS_DIRECTORY names,
called as the variable in lower case. The text below a setting is what docs/configuration.md says of it.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livebalance.runtime.config.types import Moment, Port, Redis, Servers, Web
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.connection import Broker, Login, Mechanism, trusting

PREFIX = "LIVEBALANCE_"


class ServiceSettings(BaseSettings):
    """Addresses are of loopback by default: nothing listens or connects elsewhere unless told to.

    Times are in seconds and sizes in bytes unless the name says otherwise.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        secrets_dir=os.environ.get(f"{PREFIX}SECRETS_DIRECTORY") or None,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    name: str = "livebalance"
    """Of this process: in its logs, and to Kafka and Postgres."""
    log_format: Literal["json", "text"] = "json"
    """Form of the lines on standard error."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is logged."""
    http_host: str = "127.0.0.1"
    """Address to listen on."""
    http_port: Port = 0
    """Where `/livez`, `/readyz` and `/metrics` are; 0: nowhere."""

    kafka: Servers = "127.0.0.1:9092"
    """Brokers to start from; several with commas between."""
    kafka_tls: bool = False
    """Speak TLS to the brokers."""
    kafka_ca: Path | None = None
    """PEM: who vouches for the brokers; none: the authorities this system trusts."""
    kafka_certificate: Path | None = None
    """PEM, of our own: the broker asks who we are."""
    kafka_key: Path | None = None
    """PEM; none: it stands in the file of the certificate."""
    kafka_sasl_mechanism: Mechanism | None = None
    """How we log in to the brokers."""
    kafka_user: Annotated[str, Field(validate_default=True)] = ""
    """Who logs in."""
    kafka_password: SecretStr = SecretStr("")
    """Of that user."""
    transfers_topic: str = "transfers"
    """Topic of the transfers."""
    balances_topic: str = "account-balances"
    """Topic of the balances."""
    start_from: Literal["beginning"] | Annotated[AwareDatetime, Moment] = "beginning"
    """Where a topic that nobody has read yet is begun."""
    value_format: Literal["confluent", "avro", "json"] = "confluent"
    """Form of the values of both topics: Avro that names its schema in a registry, bare Avro, JSON."""
    schema_registry: Web | None = None
    """A schema registry; none: the schemas that come with the code."""
    schema_registry_ca: Path | None = None
    """PEM: who vouches for the registry; none: the authorities this system trusts."""
    redis: Redis = SecretStr("redis://127.0.0.1:6379/0")
    """Where deltas are published; a cluster by some of its nodes, as `redis+cluster://one:6379,other:6379`;
    `rediss` for TLS."""
    channel_prefix: str = "livebalance:"
    """What the names of all channels in Redis begin with."""
    currency: str | None = None
    """Of all amounts; none: none is shown."""

    @field_validator("kafka_ca", "kafka_certificate", "kafka_key")
    @classmethod
    def _used(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file and info.data.get("kafka_tls") is False:
            raise ValueError(f"would not be used: set {PREFIX}KAFKA_TLS=true, or leave it out")
        return file

    @field_validator("kafka_user")
    @classmethod
    def _logs_in(cls, user: str, info: ValidationInfo) -> str:
        mechanism = info.data.get("kafka_sasl_mechanism", ...)  # no mechanism at all: what was said is none
        if mechanism and mechanism is not ... and not user:
            raise ValueError(f"is not set, and {PREFIX}KAFKA_SASL_MECHANISM is: they go together")
        if user and mechanism is None:
            raise ValueError(f"would not be used: set {PREFIX}KAFKA_SASL_MECHANISM, or leave it out")
        return user

    def refusals(self) -> Iterator[str]:
        """Why a service that is told this does not start, a line each; looks at files, never at servers."""
        try:
            _ = self.broker
        except StartupError as why:
            yield str(why)

    @cached_property
    def broker(self) -> Broker:
        """Raises StartupError when a file of certificates cannot be used."""
        try:
            tls = trusting(self.kafka_ca, self.kafka_certificate, self.kafka_key) if self.kafka_tls else None
        except OSError as why:
            raise StartupError(f"certificates for Kafka: {why}") from why
        login = (
            Login(self.kafka_sasl_mechanism, self.kafka_user, self.kafka_password.get_secret_value())
            if self.kafka_sasl_mechanism
            else None
        )
        return Broker(self.kafka, tls, login)
