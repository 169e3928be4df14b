"""Runs a benchmark on servers of its own, which are removed when it ends."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.servers import Servers
from tests.servers.database import make_template

T = TypeVar("T")


def run_on_servers(
    benchmark: Callable[[Servers], Coroutine[Any, Any, T]], *parts: str, durable: bool = False
) -> T:
    """Runs `benchmark` with Postgres and Redis, or with the servers named by `parts`, and returns its result.

    Databases created in it are copies of a migrated template. `durable`: with fsync, as in production.
    """
    home = StatePaths.from_environment().home
    with (
        tempfile.TemporaryDirectory() as state,
        Servers(
            StatePaths(home, Path(state)), parts=parts or ("postgres", "redis"), durable=durable
        ) as servers,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        make_template(servers.postgres)
        return runner.run(benchmark(servers))
