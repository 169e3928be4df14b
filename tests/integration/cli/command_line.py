"""Runs `livebalance` as an operator does."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from typing import NamedTuple

from tests.integration.cli.json_fields import assert_listed


class CommandResult(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


async def start_command(
    environment: Mapping[str, str], *words: str, stderr: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livebalance.cli", *words),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """Undoes what a shell does to jobs in the background: they, and their children, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def wait_for_command(process: asyncio.subprocess.Process, stdin: bytes = b"") -> CommandResult:
    """Writes all of the input, and waits until the command ends."""
    out, err = await asyncio.wait_for(process.communicate(stdin), 120)
    assert process.returncode is not None
    return CommandResult(process.returncode, out.decode(), (err or b"").decode())


async def run_command(environment: Mapping[str, str], *words: str, stdin: bytes = b"") -> CommandResult:
    """Runs a command until it ends. What it prints with --json must have the fields of docs/cli.md."""
    result = await wait_for_command(await start_command(environment, *words), stdin)
    if "--json" in words and result.out:
        assert_listed(words, result.out)
    return result
