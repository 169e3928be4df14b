"""The command `livebalance rebuild`, its options and its output."""

import asyncio
import contextlib
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import asyncpg
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from livebalance.cli import addresses
from livebalance.cli.errors import UserError, from_os
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.rebuild import database
from livebalance.cli.rebuild.progress import ReplayProgress
from livebalance.cli.rebuild.rebuild import Rebuild, SwapRequest
from livebalance.cli.rebuild.replay import Replay
from livebalance.cli.rebuild.report import RebuildReport
from livebalance.readmodel.connection import Connection

_DIFFERENT, _STOPPED = 3, 130  # exit codes
_LINE_SECONDS = 10.0  # between two lines of progress that go to a file
_GRACE_SECONDS = 10


class Display:
    """A context manager that shows the progress on standard error: a bar on a terminal, or lines, or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._shown_at = float("-inf")
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[at]}"),
        )
        self._has_bar = console.is_terminal and not as_json
        self._bar = Progress(*columns, console=console, transient=True, disable=not self._has_bar)
        self._task = self._bar.add_task("", total=None, at="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show_phase(self, phase: str) -> None:
        """Shows what begins now."""
        self._shown_at = float("-inf")
        if self._has_bar:
            self._bar.reset(self._task, total=None, description=phase, at="")
        else:
            self._print({"phase": phase}, phase)

    def show(self, progress: ReplayProgress) -> None:
        """Shows how far the replay is, and how long it will take."""
        is_complete = progress.applied >= progress.end
        if self._has_bar:
            # The bar is drawn ten times a second: the next phase may begin before it is.
            self._bar.update(
                self._task,
                completed=progress.applied,
                total=progress.end,
                at=str(progress),
                refresh=is_complete,
            )
            return
        now = time.monotonic()
        if self._as_json or now - self._shown_at >= _LINE_SECONDS or is_complete:
            self._shown_at = now
            self._print({"phase": "replaying", **progress.as_object()}, f"replaying: {progress}")

    def _print(self, fields: dict[str, Any], line: str) -> None:
        typer.echo(json.dumps(fields) if self._as_json else line, err=True)


Shadow = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Database to replay into. By default it is beside that of the projection: <name>_rebuild.",
    ),
]
DifferenceLimit = Annotated[int, typer.Option(min=0, help="Number of differences to report in full.")]
Restart = Annotated[
    bool, typer.Option("--restart", help="Do not continue an interrupted run: replay from the start.")
]
Keep = Annotated[bool, typer.Option("--keep", help="Do not drop the database at the end.")]


def verify(
    *,
    shadow: Shadow = None,
    limit: DifferenceLimit = 100,
    restart: Restart = False,
    keep: Keep = False,
    as_json: AsJson = False,
) -> None:
    """Verify the projection: replay Kafka into a database of its own, and compare. It changes nothing.

    It is `livebalance rebuild` without --swap, and shows how far it is and how long it will take. Projectors
    also compare the topic of transfers with Postgres all the time (reporting.kafka_reconciliation).

    Exit code 0: equal; 1: it failed; 3: different; 130: interrupted.
    """
    _replay(shadow, None, limit, restart=restart, keep=keep, as_json=as_json)


def rebuild(
    *,
    shadow: Shadow = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Replace the accounts that differ, and begin a new epoch.")
    ] = False,
    reason: Reason = "",
    hold: Annotated[float, typer.Option(min=1, help="Seconds for which a swap may hold the lanes.")] = 60.0,
    limit: DifferenceLimit = 100,
    restart: Restart = False,
    keep: Keep = False,
    as_json: AsJson = False,
) -> None:
    """Replay Kafka into a database of its own, and compare it with the projection.

    Connects as the owner (LIVEBALANCE_POSTGRES_OWNER). Everything else goes on; only a swap holds the
    projectors, for some seconds. If it is interrupted, run it again: it continues where it was.

    Exit code 0: equal, or replaced; 1: it failed, nothing was replaced; 3: different; 130: interrupted.
    """
    if swap and not reason:
        raise UserError("a swap needs a reason: give it with --reason")
    request = SwapRequest(reason, hold) if swap else None
    _replay(shadow, request, limit, restart=restart, keep=keep, as_json=as_json)


def _replay(
    shadow: str | None, request: SwapRequest | None, limit: int, *, restart: bool, keep: bool, as_json: bool
) -> None:
    live = addresses.owner_postgres()
    shadow = shadow or database.with_database(live, f"{database.database_name(live)}_rebuild")
    try:
        with Display(as_json=as_json) as display:
            report = asyncio.run(_run(live, shadow, request, display, limit, restart=restart))
        if not keep:
            with _user_errors():
                asyncio.run(database.drop_shadow(shadow))
    except asyncio.CancelledError:
        typer.echo("livebalance: stopped", err=True)
        raise typer.Exit(_STOPPED) from None
    typer.echo(json.dumps(report.as_object()) if as_json else str(report))
    raise typer.Exit(0 if report.is_equal or report.epoch else _DIFFERENT)


async def _run(
    live_url: str,
    shadow_url: str,
    swap: SwapRequest | None,
    display: Display,
    limit: int,
    *,
    restart: bool,
) -> RebuildReport:
    """Raises UserError."""
    task = asyncio.current_task()
    assert task
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    idle = (
        swap.hold_seconds if swap else 0
    ) + _GRACE_SECONDS  # a stopped command does not hold lanes forever
    log = Path(tempfile.mkdtemp(prefix="livebalance-rebuild-")) / "projector.log"
    with _user_errors():
        live = await database.connect(
            live_url,
            idle_in_transaction_session_timeout=f"{idle:.0f}s",
            tcp_user_timeout=f"{_GRACE_SECONDS}s",
        )
        try:
            async with database.open_shadow(shadow_url, live, restart=restart) as shadow:
                kafka = addresses.kafka()
                replay = Replay(kafka, shadow, await _environment(live, shadow_url, kafka.kafka), log)
                report = await Rebuild(
                    live, shadow, replay, kafka.transfers_topic, display.show_phase, display.show, limit
                ).run(swap)
        finally:
            live.terminate()
    shutil.rmtree(log.parent)
    return report


async def _environment(live: Connection, shadow_url: str, kafka: str) -> dict[str, str]:
    """Returns the settings of the shadow's projector that differ from the environment of this command."""
    currency = await live.fetchval("select currency from balance where currency is not null limit 1")
    return {
        "LIVEBALANCE_NAME": "rebuild",
        "LIVEBALANCE_HTTP_PORT": "0",
        "LIVEBALANCE_KAFKA": kafka,
        "LIVEBALANCE_POSTGRES": shadow_url,
        "LIVEBALANCE_PROJECTOR_GROUP": f"livebalance-rebuild-{database.database_name(shadow_url)}",
        "LIVEBALANCE_GROUP_INSTANCE_ID": "",
        "LIVEBALANCE_CURRENCY": currency or "",
        "LIVEBALANCE_RECONCILIATION_RATE": "0",  # the replay is read once
    }


@contextlib.contextmanager
def _user_errors() -> Iterator[None]:
    """Raises UserError for an error of Postgres."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as cause:
        text = " ".join(str(cause).split()) or type(cause).__name__
        raise UserError(f"Postgres: {text}") from cause
    except OSError as cause:
        raise from_os(cause) from cause
