"""Runs a service: reads its settings, starts the event loop, and turns SIGTERM and SIGINT into an event."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import uvloop

from livebalance.runtime import logs, metrics
from livebalance.runtime.config.environment import read_settings, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import SettingsError, StartupError

Settings = TypeVar("Settings", bound=ServiceSettings)
GC_THRESHOLDS = 50_000, 50, 50  # objects before a collection; collections before the next generation
Service = Callable[[Settings, asyncio.Event], Awaitable[None]]


async def _run_service(settings: Settings, service: Service[Settings]) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await service(settings, stopping)


def _tune_garbage_collector() -> None:
    """Collects garbage less often: scanning thousands of sessions took a quarter of a gateway's CPU time.

    Almost all objects are freed by reference counting.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def load_settings(settings_type: type[Settings]) -> Settings:
    """Reads the settings and configures logging. Logs each mistake without its value, then exits with 2."""
    try:
        settings = read_settings(settings_type)
    except SettingsError as error:
        text = os.environ.get(variable("log_format")) == "text"
        name = os.environ.get(variable("name")) or settings_type.model_fields["name"].default
        logs.configure(name, "text" if text else "json", "ERROR")
        for line in error.lines:
            _log_startup_error(line)
        raise SystemExit(2) from None
    logs.configure(settings.name, settings.log_format, settings.log_level)
    return settings


def _log_startup_error(reason: str) -> None:
    logs.get("run").error("service refused to start", reason=reason)


def main(settings_type: type[Settings], service: Service[Settings]) -> None:
    """Runs `service(settings, stopping)` until it returns. Entry point of every service.

    SIGTERM and SIGINT set the event `stopping`. The process exits with code 2 if the settings are invalid, or
    if the service raises StartupError. Any other exception is a bug and ends the process with a traceback.
    """
    settings = load_settings(settings_type)
    metrics.set_info(settings_type)
    _tune_garbage_collector()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run_service(settings, service))
    except StartupError as error:
        _log_startup_error(str(error))
        raise SystemExit(2) from None
