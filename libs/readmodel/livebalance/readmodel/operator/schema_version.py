"""The version of this release's schema, read without SQLAlchemy, whose import takes a second."""

from importlib.resources import files


def newest_migration() -> str:
    """Returns the number of the newest migration, such as `0016`, as in the table `alembic_version`."""
    versions = files("livebalance.readmodel") / "migrations" / "versions"
    folders = [versions, *(entry for entry in versions.iterdir() if entry.is_dir())]
    names = (entry.name for folder in folders for entry in folder.iterdir())
    return max(name[:4] for name in names if name.endswith(".py") and name[:4].isdecimal())
