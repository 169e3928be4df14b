"""Services and jobs that are told what cannot be meant: they stop, and say all of it."""

import asyncio
import json
import os
import sys
from typing import NamedTuple

import pytest

SEED = "s33ded"
WRONG = {
    "LIVEBALANCE_HTTP_PORT": "eighty",
    "LIVEBALANCE_REDIS": SEED,
    "LIVEBALANCE_KAFAK": SEED,
    "LIVEBALANCE_SECRETS_DIRECTORY": "/nowhere/at/all",
}


class Ended(NamedTuple):
    code: int | None
    out: str
    err: list[str]


async def ended(*words: str, **told: str) -> Ended:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVEBALANCE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        env=clean | told,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    return Ended(process.returncode, out.decode(), err.decode().splitlines())


@pytest.mark.parametrize(
    "words",
    [
        ("livebalance.feed",),
        ("livebalance.recorder",),
        ("livebalance.projector",),
        ("livebalance.gateway",),
        ("livebalance.readmodel",),
        ("livebalance.stack.servers.topics", "deploy/topics.toml"),
    ],
)
async def test_a_process_stops_with_a_line_for_each(words: tuple[str, ...]) -> None:
    found = await ended(*words, **WRONG)
    assert (found.code, found.out) == (2, "")
    told = [json.loads(line) for line in found.err]
    assert {(one["event"], one["level"]) for one in told} == {("refused to start", "error")}
    names = [one["reason"].split()[0] for one in told]
    assert sorted(set(names) - {"LIVEBALANCE_POSTGRES_OWNER"}) == sorted(WRONG)
    assert len(names) == len(set(names))
    assert SEED not in "".join(found.err)


async def test_in_the_form_that_was_asked_for() -> None:
    found = await ended("livebalance.gateway", LIVEBALANCE_LOG_FORMAT="text", LIVEBALANCE_NAME="gw", **WRONG)
    assert found.code == 2
    assert len(found.err) == len(WRONG)
    assert all("refused to start" in line and "process=gw" in line for line in found.err)


@pytest.mark.parametrize("command", ["up", "demo"])
async def test_nothing_is_brought_up(command: str, tmp_path: os.PathLike[str]) -> None:
    found = await ended(
        "livebalance.stack", command, LIVEBALANCE_STATE_DIRECTORY=os.fspath(tmp_path), **WRONG
    )
    assert (found.code, found.out) == (2, "")
    assert len(found.err) == len(WRONG)
    assert all(line.startswith("✗ LIVEBALANCE_") for line in found.err)
    assert SEED not in "".join(found.err)
