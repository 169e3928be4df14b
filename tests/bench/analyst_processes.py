"""Analysts who ask over and over, each a psql of its own."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from livebalance.stack.errors import StackError
from livebalance.stack.process.process import ChildProcess
from livebalance.stack.servers.postgres import _BIN
from tests.bench.reporting import QUESTIONS


@contextlib.contextmanager
def asking(url: str, number: int, directory: Path) -> Iterator[list[ChildProcess]]:
    """So many analysts, who begin with another question each. A line "." on standard error is an answer.

    Raises:
        Trouble: one of them had to stop: what was asked for was not answered.
    """
    questions = list(QUESTIONS.values())
    children = []
    for place in range(number):
        first = place * len(questions) // number
        turn = "".join(f"{one};\n\\warn .\n" for one in questions[first:] + questions[:first])
        script = directory / f"analyst-{place}.sql"
        script.write_text(turn * 1000)
        command = [f"{_BIN}/psql", url, "-qAtX", "-v", "ON_ERROR_STOP=1", "-o", os.devnull, "-f", str(script)]
        log = directory / f"analyst-{place}.log"
        log.unlink(missing_ok=True)
        children.append(ChildProcess(f"analyst-{place}", command, log, {"PATH": os.defpath}))
        children[-1].start()
    try:
        yield children
        for child in children:
            if child.pid is None:
                raise StackError(f"{child.name} stopped: {child.tail(3)}")
    finally:
        for child in children:
            child.kill()


def answers(children: Sequence[ChildProcess]) -> int:
    return sum(child.log.read_bytes().count(b".\n") for child in children)
