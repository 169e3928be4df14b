"""`python -m livebalance.stack demo|up|down|status|logs|reset`."""

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from livebalance.runtime.errors import SettingsError, StartupError
from livebalance.stack.errors import StackError, from_os
from livebalance.stack.paths import StatePaths, is_yours
from livebalance.stack.process import die_with_parent
from livebalance.stack.state import ClusterState

_PARENT = "LIVEBALANCE_PARENT_PID"  # the demo in the foreground dies with this process, make
_UP = 900.0  # seconds, downloads and the first build of the page included
_DOWN = 60.0
_POLL = 0.1
_WRONG = 2  # exit code of settings that cannot be meant


def main(arguments: list[str]) -> int:
    """Exit code of a command; trouble is one line on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(StatePaths.of_environment(), options) or 0)
    except SettingsError as wrong:
        for line in wrong.lines:
            _fail(line)
        return _WRONG
    except (StackError, StartupError) as trouble:
        return _fail(trouble)
    except OSError as error:
        return _fail(from_os(error))
    except KeyboardInterrupt:
        return 130


def _fail(trouble: Exception | str) -> int:
    Console(stderr=True, soft_wrap=True).print("[red]✗[/]", escape(str(trouble)), highlight=False)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="livebalance.stack", description="Livebalance on this machine.")
    commands = parser.add_subparsers(required=True)
    for run in (_demo, _up, _down, _status, _logs, _reset):
        command = commands.add_parser(run.__name__[1:], help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        if run in (_demo, _up):
            command.add_argument("--accounts", type=int, default=8)
            command.add_argument("--rate", default="5", help="transfers a second, or max")
            command.add_argument("--seed", type=int)
            command.add_argument("--limit", type=int, help="transfers, then the feed is done")
            command.add_argument("--port", type=int, help="of the page; default: 8080 if free")
            command.add_argument(
                "--record", action="store_true", help="of your own topics: write their balances, too"
            )
            command.add_argument(
                "--no-page", dest="page", action="store_false", help="the API alone, no build"
            )
    return parser


def _demo(place: StatePaths, options: argparse.Namespace) -> None:
    """Everything in the foreground."""
    from livebalance.stack.demo import demo  # noqa: PLC0415 - the other commands answer at once without it
    from livebalance.stack.plan import ClusterPlan  # noqa: PLC0415

    _check_settings()
    if parent := os.environ.get(_PARENT):
        die_with_parent.hold(signal.SIGTERM, int(parent))
    given = {name: getattr(options, name) for name in ("accounts", "rate", "seed", "limit", "port", "page")}
    if is_yours():
        given |= {"yours": True, "recorders": int(options.record)}
    asyncio.run(demo(place, ClusterPlan(**given), Console()))


def _up(place: StatePaths, options: argparse.Namespace) -> None:
    """The demo, detached."""
    if place.in_use():
        raise StackError(f"it is up already: {ClusterState.read(place).page or 'or coming up (make status)'}")
    _check_settings()
    log = place.directory("logs") / "demo.log"
    log.write_bytes(b"")
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "livebalance.stack", "demo", *sys.argv[2:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name != _PARENT},
        )
    _follow_until_up(place, process, log)


def _follow_until_up(place: StatePaths, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline, shown = time.monotonic() + _UP, 0
    while True:
        page = ClusterState.read(place).page
        text = log.read_text(errors="replace")
        print(text[shown:], end="", flush=True)  # noqa: T201 - what the demo says
        shown = len(text)
        if page and page in text:  # it is noted a moment before it is said
            return
        if process.poll() is not None:
            raise StackError(f"it did not come up: see above, or {log}")
        if time.monotonic() > deadline:
            raise StackError(f"it is not up after {_UP:.0f} s: make logs tells more, make down ends it")
        time.sleep(_POLL)


def _check_settings() -> None:
    """Those that all services share, and every name. Raises SettingsError."""
    from livebalance.runtime.config.environment import read  # noqa: PLC0415 - as above
    from livebalance.runtime.config.settings import ServiceSettings  # noqa: PLC0415

    read(ServiceSettings)


def _down(place: StatePaths, options: argparse.Namespace) -> None:
    """End what `up` or `demo` started."""
    supervisor = ClusterState.read(place).supervisor
    if supervisor is None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):  # its children die with it
        os.kill(supervisor, number)
        deadline = time.monotonic() + _DOWN
        while place.in_use() and time.monotonic() < deadline:
            time.sleep(_POLL)
        if not place.in_use():
            return
    raise StackError(f"process {supervisor} does not end: kill it")


def _status(place: StatePaths, options: argparse.Namespace) -> int:
    """One JSON object; exit code 1 when it is not up."""
    state = ClusterState.read(place)
    print(state.json())  # noqa: T201 - the answer
    return 0 if state.page else 1


def _logs(place: StatePaths, options: argparse.Namespace) -> None:
    """The last lines of every log, and on a terminal what comes after."""
    logs = sorted(str(path) for path in place.directory("logs").glob("*.log"))
    follow = ["-F"] if sys.stdout.isatty() else []
    if logs:
        os.execvp("tail", ["tail", "-n", "20", *follow, *logs])  # noqa: S606, S607 - coreutils


def _reset(place: StatePaths, options: argparse.Namespace) -> None:
    """Forget the data."""
    if place.in_use():
        raise StackError("it is up: make down first")
    from livebalance.stack.servers.servers import in_docker  # noqa: PLC0415 - as above

    if in_docker():
        from livebalance.stack.servers.container import forget  # noqa: PLC0415

        forget(place)
    shutil.rmtree(place.state, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
