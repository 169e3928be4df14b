"""An operator who types, and what the command line says to him."""

import asyncio
import sys
from collections.abc import Mapping
from typing import NamedTuple


class Said(NamedTuple):
    code: int
    out: str
    err: str


async def typing(
    environment: Mapping[str, str], *words: str, stderr: int = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    """It runs."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "livebalance.cli", *words),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=stderr,
    )


async def heard(process: asyncio.subprocess.Process, given: bytes = b"") -> Said:
    """What it has said at its end, after it was given all of its input."""
    out, err = await asyncio.wait_for(process.communicate(given), 60)
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), (err or b"").decode())


async def said(environment: Mapping[str, str], *words: str, given: bytes = b"") -> Said:
    return await heard(await typing(environment, *words), given)
