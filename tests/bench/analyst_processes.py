"""Analysts that query without a pause, each in a psql of its own."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from livebalance.stack.errors import StackError
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.postgres import _BIN
from tests.bench.reporting import QUERIES


@contextlib.contextmanager
def running_analysts(url: str, number: int, directory: Path) -> Iterator[list[ChildProcess]]:
    """Runs `number` analysts while the block runs. Each starts with another query.

    An analyst writes a line "." to its log after each answer.

    Raises:
        StackError: A psql has stopped, because a query failed.
    """
    queries = list(QUERIES.values())
    children = []
    for analyst in range(number):
        first = analyst * len(queries) // number
        turn = "".join(f"{query};\n\\warn .\n" for query in queries[first:] + queries[:first])
        script = directory / f"analyst-{analyst}.sql"
        script.write_text(turn * 1000)
        command = [f"{_BIN}/psql", url, "-qAtX", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f", str(script)]
        log = directory / f"analyst-{analyst}.log"
        log.unlink(missing_ok=True)
        children.append(ChildProcess(f"analyst-{analyst}", command, log, {"PATH": os.defpath}))
        children[-1].start()
    try:
        yield children
        for child in children:
            if child.pid is None:
                raise StackError(f"{child.name} stopped: {child.tail(3)}")
    finally:
        for child in children:
            child.kill()


def count_answers(children: Sequence[ChildProcess]) -> int:
    return sum(child.log.read_bytes().count(b".\n") for child in children)
