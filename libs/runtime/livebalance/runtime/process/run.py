"""Starting and ending a process: one event loop, SIGTERM and SIGINT as an event, a bug as a traceback."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from livebalance.runtime import logs, metrics
from livebalance.runtime.config.environment import read, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import SettingsError, StartupError

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


def told(kind: type[Settings]) -> Settings:
    """The settings, and logs as they say. Exit 2 with a line for each mistake, and none of their values."""
    try:
        settings = read(kind)
    except SettingsError as wrong:
        text = os.environ.get(variable("log_format")) == "text"
        name = os.environ.get(variable("name")) or kind.model_fields["name"].default
        logs.configure(name, "text" if text else "json", "ERROR")
        for line in wrong.lines:
            _refuse(line)
        raise SystemExit(2) from None
    logs.configure(settings.name, settings.log_format, settings.log_level)
    return settings


def _refuse(reason: str) -> None:
    logs.get("run").error("refused to start", reason=reason)


def main(kind: type[Settings], service: Service[Settings]) -> None:
    """Runs `service(settings, stopping)` until it returns. Exit 2 with a line when it refuses to start."""
    settings = told(kind)
    metrics.introduce(kind)
    _collect_seldom()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_told(settings, service))
    except StartupError as refusal:
        _refuse(str(refusal))
        raise SystemExit(2) from None
