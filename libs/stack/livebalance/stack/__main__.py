"""`python -m livebalance.stack demo|up|down|status|logs|reset`."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from livebalance.runtime.errors import SettingsError, StartupError
from livebalance.stack.errors import StackError, from_os
from livebalance.stack.paths import StatePaths, uses_own_topics
from livebalance.stack.process import die_with_parent
from livebalance.stack.state import ClusterState

_PARENT_PID = "LIVEBALANCE_PARENT_PID"  # the process of make: the foreground demo dies with it
_START_TIMEOUT_SECONDS = 900.0  # with all downloads and the first build of the page
_STOP_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.1
_INVALID_SETTINGS = 2  # exit code


def main(arguments: list[str]) -> int:
    """Runs a command and returns its exit code. Prints an error on a single line of standard error."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(StatePaths.from_environment(), options) or 0)
    except SettingsError as error:
        for line in error.lines:
            _fail(line)
        return _INVALID_SETTINGS
    except (StackError, StartupError) as error:
        return _fail(error)
    except OSError as error:
        return _fail(from_os(error))
    except KeyboardInterrupt:
        return 130


def _fail(error: Exception | str) -> int:
    from rich.console import Console  # noqa: PLC0415 - slow; a command without an error does not need it
    from rich.markup import escape  # noqa: PLC0415

    Console(stderr=True, soft_wrap=True).print("[red]✗[/]", escape(str(error)), highlight=False)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="livebalance.stack", description="Runs Livebalance on this machine."
    )
    commands = parser.add_subparsers(required=True)
    for run in (_demo, _up, _down, _status, _logs, _reset):
        command = commands.add_parser(run.__name__[1:], help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        if run is _logs:
            command.add_argument("--json", action="store_true", help="print a JSON object per line")
            command.add_argument(
                "--lines", type=int, default=100, help="number of lines to begin with (default: 100)"
            )
        if run in (_demo, _up):
            command.add_argument(
                "--accounts", type=int, default=8, help="number of demo accounts (default: 8)"
            )
            command.add_argument("--rate", default="5", help="transfers per second, or max (default: 5)")
            command.add_argument("--seed", type=int, help="the same seed gives the same transfers")
            command.add_argument("--limit", type=int, help="number of transfers (default: no limit)")
            command.add_argument(
                "--port", type=int, help="port of the page (default: 8080, or another port if that is taken)"
            )
            command.add_argument(
                "--record", action="store_true", help="write balances for the transfers of your own topics"
            )
            command.add_argument(
                "--no-page", dest="page", action="store_false", help="serve the API only; nothing is built"
            )
    return parser


def _demo(paths: StatePaths, options: argparse.Namespace) -> None:
    """Runs the demo in the foreground, until Ctrl-C."""
    import asyncio  # noqa: PLC0415 - slow, as all of these; other commands do not need them

    from rich.console import Console  # noqa: PLC0415

    from livebalance.stack.demo import demo  # noqa: PLC0415
    from livebalance.stack.plan import ClusterPlan  # noqa: PLC0415

    _check_settings()
    if parent := os.environ.get(_PARENT_PID):
        die_with_parent.install(signal.SIGTERM, int(parent))
    plan = {name: getattr(options, name) for name in ("accounts", "rate", "seed", "limit", "port", "page")}
    plan["control"] = not uses_own_topics()
    if uses_own_topics():
        plan |= {"own_topics": True, "recorders": int(options.record)}
    asyncio.run(demo(paths, ClusterPlan(**plan), Console()))


def _up(paths: StatePaths, options: argparse.Namespace) -> None:
    """Starts the demo in the background."""
    if paths.is_locked():
        page = ClusterState.read(paths).page
        raise StackError(f"Livebalance is already {f'running: {page}' if page else 'starting (make status)'}")
    _check_settings()
    log = paths.directory("logs") / "demo.log"
    log.write_bytes(b"")
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "livebalance.stack", "demo", *sys.argv[2:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != _PARENT_PID},
        )
    _print_until_started(paths, process, log)


def _print_until_started(paths: StatePaths, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline, printed = time.monotonic() + _START_TIMEOUT_SECONDS, 0
    while True:
        page = ClusterState.read(paths).page
        text = log.read_text(errors="replace")
        print(text[printed:], end="", flush=True)  # noqa: T201 - the output of the demo
        printed = len(text)
        if page and page in text:  # the state has the page shortly before the output has it
            return
        if process.poll() is not None:
            raise StackError(f"Livebalance did not start: see above, or {log}")
        if time.monotonic() > deadline:
            raise StackError(
                f"Livebalance did not start within {_START_TIMEOUT_SECONDS:.0f} s: "
                "make logs shows the cause, make down stops it"
            )
        time.sleep(_POLL_SECONDS)


def _check_settings() -> None:
    """Reads the settings that all services share. Raises SettingsError."""
    from livebalance.runtime.config.environment import read_settings  # noqa: PLC0415 - slow
    from livebalance.runtime.config.settings import ServiceSettings  # noqa: PLC0415

    read_settings(ServiceSettings)


def _down(paths: StatePaths, options: argparse.Namespace) -> None:
    """Stops what `up` or `demo` started; the data stays."""
    supervisor = ClusterState.read(paths).supervisor
    if supervisor is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):  # its child processes die with it
        os.kill(supervisor, number)
        deadline = time.monotonic() + _STOP_TIMEOUT_SECONDS
        while paths.is_locked() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not paths.is_locked():
            return
    raise StackError(f"process {supervisor} did not end on SIGKILL")


def _status(paths: StatePaths, options: argparse.Namespace) -> int:
    """Prints addresses and process ids as a JSON object; exit code 1 if the demo does not run."""
    state = ClusterState.read(paths)
    print(state.json())  # noqa: T201 - the output of the command
    return 0 if state.page else 1


def _logs(paths: StatePaths, options: argparse.Namespace) -> None:
    """Prints the last lines of all logs in the order of time; on a terminal, new lines too, until Ctrl-C."""
    from rich.console import Console  # noqa: PLC0415 - slow; other commands do not need it

    from livebalance.stack.logs.show import show_logs  # noqa: PLC0415

    show_logs(paths.directory("logs"), Console(), options.lines, as_json=options.json)


def _reset(paths: StatePaths, options: argparse.Namespace) -> None:
    """Deletes the data."""
    if paths.is_locked():
        raise StackError("Livebalance is running: stop it first (make down)")
    from livebalance.stack.servers.servers import uses_containers  # noqa: PLC0415 - slow

    if uses_containers():
        from livebalance.stack.servers.container import remove_volumes  # noqa: PLC0415

        remove_volumes(paths)
    shutil.rmtree(paths.state, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
