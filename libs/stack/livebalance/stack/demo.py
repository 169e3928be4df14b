"""The demo in the foreground: starts the cluster, runs until a signal, stops the cluster."""

import asyncio
import contextlib
import signal

from rich.console import Console

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths
from livebalance.stack.plan import ClusterPlan
from livebalance.stack.progress import StartupProgress

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def demo(paths: StatePaths, plan: ClusterPlan, console: Console) -> None:
    """Runs a cluster until SIGINT, SIGTERM or SIGHUP.

    Raises:
        StackError: the cluster did not start.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, task.cancel)
    console.print("[bold]Livebalance[/]")
    progress = StartupProgress(console)
    cluster = Cluster(paths, plan, progress)
    with contextlib.suppress(asyncio.CancelledError):
        with progress:
            await cluster.start()
        try:
            console.print(_instructions(cluster), highlight=False, soft_wrap=True)
            await asyncio.Event().wait()
        finally:
            with progress.step("Stopping"):
                await cluster.stop()


def _instructions(cluster: Cluster) -> str:
    plan = cluster.plan
    if plan.own_topics:
        writes = "only balances are written there" if plan.recorders else "nothing is written there"
        source = f"The page shows the accounts of your topics at {cluster.kafka}; {writes}."
    else:
        source = (
            f"{plan.accounts} accounts, {plan.rate} transfers a second: the balance changes, "
            "and new transfers appear at the top."
        )
    return (
        f"\n  Open [bold cyan]{cluster.page}[/]\n"
        f"  {source}\n"
        f"  [dim]SQL: {cluster.postgres('analyst')}[/]\n"
        "  [dim]make down, or Ctrl-C in the foreground, stops everything and keeps the data. "
        "See also: make status, make logs[/]\n"
    )
