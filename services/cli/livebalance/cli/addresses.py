"""Addresses of the servers: from the environment, else from the demo that runs on this machine.

Every function raises SettingsError if a setting is invalid.
"""

from collections.abc import Iterator
from functools import cache

from livebalance.cli.errors import UserError
from livebalance.runtime.config.environment import read_settings
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import SecretPostgresUrl
from livebalance.stack.paths import StatePaths
from livebalance.stack.state import ClusterState


class OperatorSettings(ServiceSettings):
    """Settings of the command line."""

    postgres: SecretPostgresUrl | None = None
    postgres_owner: SecretPostgresUrl | None = None

    def startup_errors(self) -> Iterator[str]:
        """Returns no errors: each command checks the addresses that it needs."""
        return iter(())


@cache
def _settings() -> OperatorSettings:
    return read_settings(OperatorSettings)


def _demo() -> ClusterState:
    return ClusterState.read(StatePaths.from_environment())


def postgres(role: str) -> str:
    """Returns the URL of Postgres for a role.

    Raises:
        UserError: there is no address.
    """
    if url := _settings().postgres:
        return url.get_secret_value()
    if demo_url := _demo().postgres:
        return demo_url.replace("//analyst@", f"//{role}@", 1)
    raise UserError("no address of Postgres: set LIVEBALANCE_POSTGRES, or start the demo (make up)")


def owner_postgres() -> str:
    """Returns the URL of Postgres for the owner of the database.

    Raises:
        UserError: there is no address.
    """
    if url := _settings().postgres_owner:
        return url.get_secret_value()
    if demo_url := _demo().postgres:
        return demo_url.replace("//analyst@", "//owner@", 1)
    raise UserError("no address of Postgres: set LIVEBALANCE_POSTGRES_OWNER, or start the demo (make up)")


def kafka() -> ServiceSettings:
    """Returns the settings of Kafka and its topics.

    Raises:
        UserError: there is no address.
    """
    settings = _settings()
    if "kafka" in settings.model_fields_set:
        return settings
    if address := _demo().kafka:
        return settings.model_copy(update={"kafka": address})
    raise UserError("no address of Kafka: set LIVEBALANCE_KAFKA, or start the demo (make up)")


def page() -> str:
    """Returns the URL of the page of the demo, which is also that of its gateways.

    Raises:
        UserError: No demo runs here.
    """
    if url := _demo().page:
        return url.rstrip("/")
    raise UserError("no address of a gateway: give --url, or start the demo (make up)")


def redis() -> str | None:
    """Returns the URL of Redis; None if it is not set and no demo runs here."""
    settings = _settings()
    return settings.redis.get_secret_value() if "redis" in settings.model_fields_set else _demo().redis


def channel_prefix() -> str:
    """Returns the prefix of the Redis channels."""
    return _settings().channel_prefix
