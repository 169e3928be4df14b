"""Runs a service: reads its settings, starts the event loop, and turns SIGTERM and SIGINT into an event."""

import argparse
import asyncio
import gc
import os
import signal
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import uvloop

from livebalance.runtime import logs, metrics
from livebalance.runtime.config.descriptions import describe_settings
from livebalance.runtime.config.environment import read_settings, variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import environment_text
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


class CommandLine(argparse.ArgumentParser):
    """A parser without options. Its help describes the program that runs, and lists the settings."""

    def __init__(self, settings_type: type[ServiceSettings]) -> None:
        program = sys.modules["__main__"]
        super().__init__(
            prog=f"python -m {program.__spec__.parent}" if program.__spec__ else None,
            description=program.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._settings_type = settings_type

    def format_help(self) -> str:
        """Returns the help."""
        self.epilog = "\n".join(["settings, as environment variables:", *_setting_lines(self._settings_type)])
        return super().format_help()


def _setting_lines(settings_type: type[ServiceSettings]) -> Iterator[str]:
    descriptions = describe_settings(settings_type)
    for field, info in settings_type.model_fields.items():
        default = "" if info.is_required() else environment_text(info.default)
        yield f"  {variable(field)}{f'={default}' if default not in ('', '[]') else ''}"
        yield textwrap.fill(
            descriptions.get(field, ""), 100, initial_indent="      ", subsequent_indent="      "
        )


def main(
    settings_type: type[Settings], service: Service[Settings], *, has_own_arguments: bool = False
) -> None:
    """Runs `service(settings, stopping)` until it returns. Entry point of every service.

    Without `has_own_arguments`, the service accepts no argument but --help. SIGTERM and SIGINT set the event
    `stopping`. The process exits with code 2 if the settings are invalid, or if the service raises
    StartupError. Any other exception is a bug and ends the process with a traceback.
    """
    if not has_own_arguments:
        CommandLine(settings_type).parse_args()
    settings = load_settings(settings_type)
    metrics.set_info(settings_type)
    _tune_garbage_collector()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run_service(settings, service))
    except StartupError as error:
        _log_startup_error(str(error))
        raise SystemExit(2) from None
