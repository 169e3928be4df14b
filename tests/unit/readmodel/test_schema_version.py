"""The newest migration, by the names of its files."""

from importlib.resources import files

from alembic.script import ScriptDirectory

from livebalance.readmodel.operator.schema_version import newest_migration


def test_newest_migration_is_the_head_that_alembic_would_reach() -> None:
    migrations = str(files("livebalance.readmodel") / "migrations")
    scripts = ScriptDirectory(migrations, recursive_version_locations=True)
    assert scripts.get_heads() == [newest_migration()]
