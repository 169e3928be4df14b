"""What a bench stands on: real Postgres and Redis of its own, gone when it ends."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from tests.servers.database import make_template


def on_servers(work: Callable[[Servers], Coroutine[Any, Any, None]], *parts: str) -> None:
    """Runs `work` to its end, on Postgres and Redis unless `parts` says otherwise.

    Databases are copies of a migrated template.
    """
    home = StatePaths.from_environment().home
    with (
        tempfile.TemporaryDirectory() as state,
        Servers(
            StatePaths(home, Path(state)), parts=parts or ("postgres", "redis"), durable=False
        ) as servers,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        make_template(servers.postgres)
        runner.run(work(servers))
