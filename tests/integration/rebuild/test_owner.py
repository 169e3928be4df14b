"""`livebalance rebuild` as an owner that is not a superuser: row-level security holds for it too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from livebalance.readmodel.migrate import migrate
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from livebalance.stack.servers.topics import Topics
from tests.integration.projector.pipeline import Pipeline
from tests.integration.readmodel.test_install import execute, statements_of_page
from tests.integration.rebuild.history import plant, write_history
from tests.integration.rebuild.test_rebuild import Environment, rebuild
from tests.servers.database import Database


@pytest.fixture
def own(paths: StatePaths, tmp_path: Path) -> Iterator[Servers]:
    """A Postgres server without the roles of the migrations."""
    state = StatePaths(paths.home, tmp_path / "own")
    with Servers(state, parts=["postgres"], durable=False, only_embedded=True) as servers:
        yield servers


@pytest.fixture
async def kept(  # noqa: PLR0917 - a fixture names what it needs
    own: Servers, kafka: str, topics: Topics, redis_url: str, channel_prefix: str, tmp_path: Path
) -> Pipeline:
    """A pipeline whose database belongs to `keeper`, who may create databases and roles, and nothing more."""
    await execute(own.postgres("owner", "postgres"), *statements_of_page())
    await execute(own.postgres("owner", "postgres"), "alter role keeper createdb")
    await migrate(own.postgres("keeper", "installed"))
    return Pipeline(kafka, topics, Database(own.postgres, "installed"), redis_url, channel_prefix, tmp_path)


async def test_owner_without_superuser_can_swap(
    kept: Pipeline, own: Servers, environment: Environment
) -> None:
    keeper = {**environment, "LIVEBALANCE_POSTGRES_OWNER": own.postgres("keeper", "installed")}
    try:
        kept.start()
        await write_history(kept)
        await plant(kept)
        report, _ = await rebuild(keeper, "--swap", "--reason", "planted differences")
        assert (report["swapped"], report["accounts_different"]) == (True, 5)
        report, _ = await rebuild(keeper)
        assert report["equal"], report
    finally:
        kept.stop()
    databases = await kept.query("select datname from pg_database where datname like 'installed%'")
    assert [row["datname"] for row in databases] == ["installed"]
