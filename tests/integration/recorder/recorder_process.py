"""Runs a recorder as a process, or as a task of the test."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from livebalance.recorder.__main__ import serve
from livebalance.recorder.settings import RecorderSettings
from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.servers.topics import Topics
from tests.servers.database import Database
from tests.settings_environment import environment_of

SESSION_TIMEOUT_MS = 6_000  # the shortest that brokers allow


def settings(
    kafka: str, topics: Topics, database: Database, window: int = 1_000, **changed: Any
) -> RecorderSettings:
    given: dict[str, Any] = {
        "kafka": kafka,
        "postgres": database.url("recorder"),
        "transfers_topic": topics.transfers,
        "balances_topic": topics.balances,
        "lifecycle_topic": topics.lifecycle or "no-lifecycle",
        "recorder_group": f"recorder-of-{topics.transfers}",
        "session_timeout_ms": SESSION_TIMEOUT_MS,
        "duplicate_window_offsets": window,
    }
    return RecorderSettings(**{**given, **changed})


@asynccontextmanager
async def running_recorder(recorder_settings: RecorderSettings) -> AsyncIterator[None]:
    """Runs a recorder in a task while the block runs."""
    stopping = asyncio.Event()
    task = asyncio.create_task(serve(recorder_settings, stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


def recorder_process(
    recorder_settings: RecorderSettings,
    log: Path,
    command: tuple[str, ...] = ("-m", "livebalance.recorder"),
    **variables: str,
) -> ChildProcess:
    """Returns a recorder's process that is not started. `variables` are further settings."""
    further = {f"LIVEBALANCE_{name}".upper(): value for name, value in variables.items()}
    environment = bare_environment() | environment_of(recorder_settings) | further
    return ChildProcess(recorder_settings.name, [sys.executable, *command], log, environment)
