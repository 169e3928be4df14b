"""A recorder as a process, and as a task of the test."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from livebalance.recorder.__main__ import serve
from livebalance.recorder.settings import RecorderSettings
from livebalance.stack.process.process import ChildProcess, bare_environment
from livebalance.stack.servers.topics import Topics
from tests.told import told

SESSION_MS = 6_000  # the shortest that brokers allow


def settings(kafka: str, topics: Topics, window: int = 1_000) -> RecorderSettings:
    return RecorderSettings(
        kafka=kafka,
        transfers_topic=topics.transfers,
        balances_topic=topics.balances,
        recorder_group=f"recorder-of-{topics.transfers}",
        session_timeout_ms=SESSION_MS,
        duplicate_window_offsets=window,
    )


@asynccontextmanager
async def recording(chosen: RecorderSettings) -> AsyncIterator[None]:
    """A recorder runs while the block does."""
    stopping = asyncio.Event()
    running = asyncio.create_task(serve(chosen, stopping))
    try:
        yield
    finally:
        stopping.set()
        await running


def recorder(
    chosen: RecorderSettings,
    log: Path,
    command: tuple[str, ...] = ("-m", "livebalance.recorder"),
    **more: str,
) -> ChildProcess:
    """Not started."""
    environment = {f"LIVEBALANCE_{name}".upper(): value for name, value in more.items()}
    return ChildProcess(
        chosen.name, [sys.executable, *command], log, bare_environment() | told(chosen) | environment
    )
