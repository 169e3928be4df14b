"""Services and jobs with invalid settings do not start, and log every mistake."""

import asyncio
import json
import os
import sys
from typing import NamedTuple

import pytest

SEED = "s33ded"
INVALID = {
    "LIVEBALANCE_HTTP_PORT": "eighty",
    "LIVEBALANCE_REDIS": SEED,
    "LIVEBALANCE_KAFAK": SEED,
    "LIVEBALANCE_SECRETS_DIRECTORY": "/nowhere/at/all",
}


class Result(NamedTuple):
    code: int | None
    out: str
    err: list[str]


async def run(*arguments: str, **variables: str) -> Result:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LIVEBALANCE_")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        env=clean | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return Result(process.returncode, out.decode(), err.decode().splitlines())


@pytest.mark.parametrize(
    "arguments",
    [
        ("livebalance.feed",),
        ("livebalance.recorder",),
        ("livebalance.projector",),
        ("livebalance.gateway",),
        ("livebalance.readmodel",),
        ("livebalance.stack.servers.topics", "deploy/topics.toml"),
    ],
)
async def test_process_with_invalid_settings_logs_a_line_for_each(arguments: tuple[str, ...]) -> None:
    result = await run(*arguments, **INVALID)
    assert (result.code, result.out) == (2, "")
    lines = [json.loads(line) for line in result.err]
    assert {(line["event"], line["level"]) for line in lines} == {("service refused to start", "error")}
    names = [line["reason"].split()[0] for line in lines]
    assert sorted(set(names) - {"LIVEBALANCE_POSTGRES_OWNER"}) == sorted(INVALID)
    assert len(names) == len(set(names))
    assert SEED not in "".join(result.err)


async def test_startup_errors_have_the_chosen_log_format() -> None:
    variables = {**INVALID, "LIVEBALANCE_LOG_FORMAT": "text", "LIVEBALANCE_NAME": "gw"}
    result = await run("livebalance.gateway", **variables)
    assert result.code == 2
    assert len(result.err) == len(INVALID)
    assert all("refused to start" in line and "process=gw" in line for line in result.err)


@pytest.mark.parametrize("command", ["up", "demo"])
async def test_stack_with_invalid_settings_starts_nothing(command: str, tmp_path: os.PathLike[str]) -> None:
    variables = {**INVALID, "LIVEBALANCE_STATE_DIRECTORY": os.fspath(tmp_path)}
    result = await run("livebalance.stack", command, **variables)
    assert (result.code, result.out) == (2, "")
    assert len(result.err) == len(INVALID)
    assert all(line.startswith("✗ LIVEBALANCE_") for line in result.err)
    assert SEED not in "".join(result.err)
