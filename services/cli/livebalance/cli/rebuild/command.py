"""The command `livebalance rebuild`, its options and its output."""

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import asyncpg
import typer

from livebalance.cli import addresses
from livebalance.cli.errors import UserError, from_os
from livebalance.cli.options import AsJson, Reason
from livebalance.cli.rebuild import database
from livebalance.cli.rebuild.progress import ReplayProgress
from livebalance.cli.rebuild.rebuild import Rebuild, SwapRequest
from livebalance.cli.rebuild.replay import Replay
from livebalance.cli.rebuild.report import RebuildReport
from livebalance.readmodel.projector_writes import Connection

_DIFFERENT, _STOPPED = 3, 130  # exit codes
_LINE_SECONDS = 10.0  # between two lines of progress that go to a file
_GRACE_SECONDS = 10


class Display:
    """Shows the progress on standard error: a line per second on a terminal, or JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._pause = 0.0 if as_json or sys.stderr.isatty() else _LINE_SECONDS
        self._shown_at = float("-inf")

    def show_phase(self, phase: str) -> None:
        """Shows what begins now."""
        self._shown_at = float("-inf")
        self._print({"phase": phase}, phase)

    def show(self, progress: ReplayProgress) -> None:
        """Shows how far the replay is."""
        now = time.monotonic()
        if now - self._shown_at >= self._pause or progress.applied >= progress.end:
            self._shown_at = now
            self._print({"phase": "replaying", **progress.as_object()}, f"replaying: {progress}")

    def _print(self, fields: dict[str, Any], line: str) -> None:
        typer.echo(json.dumps(fields) if self._as_json else line, err=True)


def rebuild(
    *,
    shadow: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Database to replay into. By default it is beside that of the projection: <name>_rebuild.",
        ),
    ] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Replace the accounts that differ, and begin a new epoch.")
    ] = False,
    reason: Reason = "",
    hold: Annotated[float, typer.Option(min=1, help="Seconds for which a swap may hold the lanes.")] = 60.0,
    limit: Annotated[int, typer.Option(min=0, help="Number of differences to report in full.")] = 100,
    restart: Annotated[
        bool, typer.Option("--restart", help="Do not continue an interrupted rebuild: replay from the start.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Do not drop the database at the end.")] = False,
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
    live = addresses.owner_postgres()
    shadow = shadow or database.with_database(live, f"{database.database_name(live)}_rebuild")
    display = Display(as_json=as_json)
    try:
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
