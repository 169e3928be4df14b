"""Where the servers are: told in the environment, else those of the demo that runs on this machine.

Every function raises WrongSettingsError.
"""

from collections.abc import Iterator
from functools import cache

from livebalance.cli.errors import UserError
from livebalance.runtime.config.environment import read
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Postgres
from livebalance.stack.paths import StatePaths
from livebalance.stack.state import ClusterState


class OperatorSettings(ServiceSettings):
    postgres: Postgres | None = None

    def refusals(self) -> Iterator[str]:
        """None: each command finds out about the servers that it needs."""
        return iter(())


@cache
def _told() -> OperatorSettings:
    return read(OperatorSettings)


def _found() -> ClusterState:
    return ClusterState.read(StatePaths.of_environment())


def postgres(role: str) -> str:
    """URL for a role. Raises UserError."""
    if told := _told().postgres:
        return told.get_secret_value()
    if found := _found().postgres:
        return found.replace("//analyst@", f"//{role}@", 1)
    raise UserError("where is Postgres? set LIVEBALANCE_POSTGRES, or start the demo (make up)")


def kafka() -> ServiceSettings:
    """Of Kafka and its topics: LIVEBALANCE_KAFKA and what goes with it, else the demo's. Raises UserError."""
    told = _told()
    if "kafka" in told.model_fields_set:
        return told
    if found := _found().kafka:
        return told.model_copy(update={"kafka": found})
    raise UserError("where is Kafka? set LIVEBALANCE_KAFKA, or start the demo (make up)")


def redis() -> str | None:
    """URL; None: nobody said where it is, and no demo runs here."""
    told = _told()
    return told.redis.get_secret_value() if "redis" in told.model_fields_set else _found().redis


def channel_prefix() -> str:
    return _told().channel_prefix
