"""Starting and ending a process: one event loop, SIGTERM and SIGINT as an event, a bug as a traceback."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from livebalance.runtime import logs
from livebalance.runtime.refused import RefusedError
from livebalance.runtime.settings import ServiceSettings

Settings = TypeVar("Settings", bound=ServiceSettings)
GARBAGE = 50_000, 50, 50  # objects; generations: what lives here dies by its count of references
Service = Callable[[Settings, asyncio.Event], Awaitable[None]]


async def _until_told(settings: Settings, service: Service[Settings]) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await service(settings, stopping)


def _collect_seldom() -> None:
    """Thousands of sessions are no garbage: to look for some took a quarter of a gateway's time."""
    gc.freeze()
    gc.set_threshold(*GARBAGE)


def main(settings: Settings, service: Service[Settings]) -> None:
    """Runs `service(settings, stopping)` until it returns. Exit 2 with one line when it refuses to start."""
    logs.configure(settings.name, settings.log, settings.log_level)
    _collect_seldom()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_told(settings, service))
    except RefusedError as refusal:
        logs.get("run").error("refused to start", reason=str(refusal))
        raise SystemExit(2) from None
