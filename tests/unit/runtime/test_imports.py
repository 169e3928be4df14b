"""A process does not import what it does not use: an import costs up to a third of a second of CPU time."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        ("cli --version", "aiokafka asyncio asyncpg pydantic rich"),
        ("cli --help", "aiokafka asyncio asyncpg pydantic"),
        ("cli config check --service feed", "aiokafka asyncpg fastavro httpx rich sqlalchemy structlog"),
        ("cli status --help", "fastapi fastavro httpx sqlalchemy structlog"),
        ("cli revoke --help", "aiokafka fastapi httpx sqlalchemy structlog"),
        ("gateway --help", "aiokafka fastavro sqlalchemy typer"),
        ("projector --help", "fastapi httpx sqlalchemy typer"),
        ("recorder --help", "fastapi httpx sqlalchemy typer"),
        ("feed --help", "asyncpg fastapi httpx jwt sqlalchemy typer"),
        ("stack --help", "aiokafka asyncio asyncpg pydantic rich sqlalchemy"),
    ],
)
def test_process_imports_no_package_that_it_does_not_use(arguments: str, unused: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", *f"livebalance.{arguments}".split()]
    result = subprocess.run(command, env={}, capture_output=True, text=True, timeout=120, check=True)
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "argparse" in imported or "typer" in imported
    assert imported.isdisjoint(unused.split())
