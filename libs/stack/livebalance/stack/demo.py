"""The demo in the foreground: shows it come up, keeps it up, takes it down."""

import asyncio
import contextlib
import signal

from rich.console import Console

from livebalance.stack.cluster import Cluster
from livebalance.stack.paths import StatePaths
from livebalance.stack.plan import ClusterPlan
from livebalance.stack.progress import StartupProgress

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def demo(place: StatePaths, plan: ClusterPlan, console: Console) -> None:
    """Run until a signal says stop.

    Raises:
        Trouble: it did not come up.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    for number in _STOPS:
        loop.add_signal_handler(number, task.cancel)
    console.print("[bold]Livebalance[/]")
    steps = StartupProgress(console)
    cluster = Cluster(place, plan, steps)
    with contextlib.suppress(asyncio.CancelledError):
        with steps:
            await cluster.start()
        try:
            console.print(_what_to_see(cluster), highlight=False, soft_wrap=True)
            await asyncio.Event().wait()
        finally:
            with steps.step("Stopping"):
                await cluster.stop()


def _what_to_see(cluster: Cluster) -> str:
    plan = cluster.plan
    moves = (
        f"Accounts are those of your topics at {cluster.kafka}; nothing is written there"
        f"{' but balances' if plan.recorders else ''}.\n"
        if plan.yours
        else f"{plan.accounts} accounts, {plan.rate} transfers a second: the balance moves, "
        "new transfers appear on top.\n"
    )
    return (
        f"\n  Open [bold cyan]{cluster.page}[/]\n"
        f"  {moves}"
        f"  [dim]SQL: {cluster.postgres('analyst')}[/]\n"
        "  [dim]Ctrl-C ends it and keeps the data; in another terminal: make status, make logs[/]\n"
    )
