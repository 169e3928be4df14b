"""`python -m livebalance.readmodel`: migrate the database of LIVEBALANCE_POSTGRES_OWNER.

What analysts may still write is said in a line each: a superuser forbids it (docs/operations.md).
"""

import asyncio
from collections.abc import Iterator

from livebalance.readmodel.migrate import migrate
from livebalance.runtime import logs
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import Postgres
from livebalance.runtime.process.run import told


class MigrationSettings(ServiceSettings):
    name: str = "migrations"
    postgres_owner: Postgres

    def refusals(self) -> Iterator[str]:
        """None: Kafka is no business of a migration."""
        return iter(())


if __name__ == "__main__":
    for statement in asyncio.run(migrate(told(MigrationSettings).postgres_owner.get_secret_value())):
        logs.get("migrations").warning("analysts may write until a superuser forbids it", by=statement)
