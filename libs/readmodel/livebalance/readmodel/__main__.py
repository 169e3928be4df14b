"""`python -m livebalance.readmodel` migrates the database of LIVEBALANCE_POSTGRES_OWNER.

It logs each statement that only a superuser can run to keep analysts from writing (docs/operations.md).
"""

import asyncio
from collections.abc import Iterator

from livebalance.readmodel.migrate import migrate
from livebalance.runtime import logs
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import SecretPostgresUrl
from livebalance.runtime.process.run import CommandLine, load_settings


class MigrationSettings(ServiceSettings):
    """Settings of the migrations."""

    name: str = "migrations"
    postgres_owner: SecretPostgresUrl

    def startup_errors(self) -> Iterator[str]:
        """Yields nothing, because migrations do not use Kafka."""
        return iter(())


def main() -> None:
    """Migrates the database and logs what a superuser still has to revoke."""
    CommandLine(MigrationSettings).parse_args()
    url = load_settings(MigrationSettings).postgres_owner.get_secret_value()
    for statement in asyncio.run(migrate(url)):
        logs.get("migrations").warning("analyst privilege not revoked", statement=statement)


if __name__ == "__main__":
    main()
