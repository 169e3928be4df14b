"""What docs/kubernetes.md has an operator do in Postgres is enough, where the owner is no superuser."""

import re
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from livebalance.readmodel.migrate import migrate
from livebalance.stack.place import PROJECT, Place
from livebalance.stack.servers import Servers
from tests.integration.readmodel.ledger import FILL


@pytest.fixture
def own(place: Place, tmp_path: Path) -> Iterator[Servers]:
    with Servers(
        Place(place.home, tmp_path / "own"), parts=["postgres"], durable=False, embedded=True
    ) as servers:
        yield servers


def said() -> list[str]:
    """The statements of the page. Here `owner` is taken, by who made the server."""
    page = (PROJECT / "docs" / "kubernetes.md").read_text()
    [block] = re.findall(r"^```sql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    renamed = re.sub(r"\b(role|owner) owner\b", r"\1 keeper", block)
    return renamed.replace("database livebalance", "database installed").rstrip("; \n").split(";")


async def test_roles_as_the_page_makes_them_can_migrate_write_and_read(own: Servers) -> None:
    everybody = await asyncpg.connect(own.postgres("owner", "postgres"))
    for statement in said():
        await everybody.execute(statement)
    await everybody.close()
    await migrate(own.postgres("keeper", "installed"))
    projector = await asyncpg.connect(own.postgres("projector", "installed"))
    await projector.execute(FILL)
    await projector.close()
    analyst = await asyncpg.connect(own.postgres("analyst", "installed"))
    assert await analyst.fetchval("select count(*) from balances") > 0
    await analyst.close()
    gateway = await asyncpg.connect(own.postgres("gateway", "installed"))
    assert await gateway.fetchval("select count(*) from balance") == 0  # of accounts that it has not named
    assert await gateway.fetchval("select count(*) from lane") > 0
    await gateway.close()
