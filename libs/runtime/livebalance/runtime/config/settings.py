"""Settings that all services share. The `settings.py` of each service adds its own.

A setting is an environment variable LIVEBALANCE_<NAME>, or a file `livebalance_<name>` in the directory
LIVEBALANCE_SECRETS_DIRECTORY. The text below a setting is its description in docs/configuration.md.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from livebalance.runtime.config.types import DateTime, HostPortList, Port, SecretHttpUrl, SecretRedisUrl
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.connection import Broker, Login, Mechanism, tls_context
from livebalance.wire.money import MAX_SCALE

PREFIX = "LIVEBALANCE_"


class ServiceSettings(BaseSettings):
    """Settings of every service.

    By default, a service listens and connects on the loopback interface only. A duration ends in `_seconds`
    or `_ms`, a size in `_bytes`, a rate per second in `_rate` or `_rate_per_address`. A limit begins with
    `max_`.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        secrets_dir=os.environ.get(f"{PREFIX}SECRETS_DIRECTORY") or None,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,  # each process knows the settings of all services, and uses those of one
    )

    name: str = "livebalance"
    """Name of the process in its logs, in Kafka and in Postgres."""
    log_format: Literal["json", "text"] = "json"
    """Format of the log lines on standard error."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level that is logged."""
    http_host: str = "127.0.0.1"
    """Address to listen on. Set `0.0.0.0` to accept connections from other machines."""
    http_port: Port = 0
    """Port of `/livez`, `/readyz` and `/metrics`. 0: the service does not listen."""

    kafka: HostPortList = "127.0.0.1:9092"
    """Brokers to connect to first, separated by commas. The client finds the other brokers by itself."""
    kafka_tls: bool = False
    """Connect to the brokers with TLS."""
    kafka_ca: Path | None = None
    """PEM file of the authorities that sign the brokers' certificates. None: those of the system."""
    kafka_certificate: Path | None = None
    """PEM file of the client certificate, for brokers that require one. None: no client certificate."""
    kafka_key: Path | None = None
    """PEM file of the client certificate's private key. None: the certificate's file contains the key."""
    kafka_sasl_mechanism: Mechanism | None = None
    """SASL mechanism to log in to the brokers. None: no login."""
    kafka_user: Annotated[str, Field(validate_default=True)] = ""
    """SASL user name."""
    kafka_password: SecretStr = SecretStr("")
    """SASL password."""
    transfers_topic: str = "transfers"
    """Kafka topic of the transfers."""
    balances_topic: str = "account-balances"
    """Kafka topic of the account balances."""
    lifecycle_topic: str = "account-lifecycle"
    """Kafka topic of openings and erasures of accounts. If it does not exist, an opening is derived from the
    first balance that can be verified, and a rebuild may derive another."""
    start_from: Literal["beginning"] | DateTime = "beginning"
    """Time of the first transfer to read, or `beginning`. Only the first run of an installation uses it."""
    value_format: Literal["confluent", "avro", "json"] = "confluent"
    """Format of the values of both topics: Avro with a registry's schema id, Avro without an id, or JSON."""
    schema_registry: SecretHttpUrl | None = None
    """URL of the schema registry. None: the schemas that come with Livebalance."""
    schema_registry_ca: Path | None = None
    """PEM file of the authorities that sign the registry's certificate. None: those of the system."""
    redis: SecretRedisUrl = SecretStr("redis://127.0.0.1:6379/0")
    """Redis server or cluster that deltas are published to. A cluster is named by some of its nodes, as in
    `redis+cluster://redis-1:6379,redis-2:6379`. Begin with `rediss` for TLS."""
    channel_prefix: str = "livebalance:"
    """Prefix of all channel names in Redis. Change it if installations share a Redis server."""
    currency: str | None = None
    """Currency of all amounts. None: amounts have no currency."""

    max_scale: Annotated[int, Field(ge=0, le=MAX_SCALE)] = MAX_SCALE
    """Maximum decimal places of an amount, for instance 2 for cents. A record with more is rejected. Set it
    before the first transfer, or to no less than the scale of any balance there is."""

    @field_validator("kafka_ca", "kafka_certificate", "kafka_key")
    @classmethod
    def _check_tls(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file and info.data.get("kafka_tls") is False:
            raise ValueError(f"has no effect: set {PREFIX}KAFKA_TLS=true, or remove this setting")
        return file

    @field_validator("kafka_user")
    @classmethod
    def _check_user(cls, user: str, info: ValidationInfo) -> str:
        mechanism = info.data.get("kafka_sasl_mechanism", ...)  # absent if the mechanism itself is invalid
        if mechanism and mechanism is not ... and not user:
            raise ValueError(f"is not set, but {PREFIX}KAFKA_SASL_MECHANISM requires it")
        if user and mechanism is None:
            raise ValueError(f"has no effect: set {PREFIX}KAFKA_SASL_MECHANISM, or remove this setting")
        return user

    def startup_errors(self) -> Iterator[str]:
        """Yields a line for each reason why a service with these settings cannot start.

        It reads files, but never connects to a server.
        """
        try:
            _ = self.broker
        except StartupError as error:
            yield str(error)

    @cached_property
    def broker(self) -> Broker:
        """Returns how to connect to Kafka.

        Raises:
            StartupError: A certificate file is missing or invalid.
        """
        try:
            tls = (
                tls_context(self.kafka_ca, self.kafka_certificate, self.kafka_key) if self.kafka_tls else None
            )
        except OSError as error:
            raise StartupError(f"certificates for Kafka: {error}") from error
        login = (
            Login(self.kafka_sasl_mechanism, self.kafka_user, self.kafka_password.get_secret_value())
            if self.kafka_sasl_mechanism
            else None
        )
        return Broker(self.kafka, tls, login)
