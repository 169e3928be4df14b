"""`livebalance rebuild` on real servers: it compares, reports, and changes nothing unless it is asked to."""

import asyncio
import contextlib
import json
import os
import pty
from collections.abc import Mapping
from typing import Any

import asyncpg
import pytest

from tests.integration.cli.command_line import run_command, start_command, wait_for_command
from tests.integration.gateway.faulty_proxy import faulty_proxy
from tests.integration.projector.pipeline import Pipeline
from tests.integration.rebuild.history import PLANTED, content, plant, write_history

DIFFERENT = 3  # exit code

Environment = Mapping[str, str]


async def rebuild(environment: Environment, *words: str, code: int = 0) -> tuple[dict[str, Any], list[Any]]:
    """Returns the report and the lines of progress of a rebuild that ends with `code`."""
    result = await run_command(environment, "rebuild", "--json", *words)
    assert result.code == code, result.err
    return json.loads(result.out), [json.loads(line) for line in result.err.splitlines()]


@pytest.fixture
async def written(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose projector has applied a history, and still runs."""
    pipeline.start()
    await write_history(pipeline)
    return pipeline


async def shadows(pipeline: Pipeline) -> list[str]:
    """Returns the shadow of the pipeline's database, if it exists."""
    name = f"{pipeline.database.name}_rebuild"
    return [
        row[0] for row in await pipeline.query("select datname from pg_database where datname = $1", name)
    ]


async def test_untouched_projection_equals_the_replay(written: Pipeline, environment: Environment) -> None:
    before = await content(written)
    report, progress = await rebuild(environment, "--swap", "--reason", "to be sure")
    assert (report["equal"], report["swapped"], report["differences"]) == (True, False, [])
    assert all(lane["live"] == lane["shadow"] for lane in report["lanes"].values())
    assert await content(written) == before
    assert await shadows(written) == []
    last = [line for line in progress if "applied" in line][-1]
    assert (last["applied"], last["end"], last["seconds_left"]) == (55, 55, 0.0)
    assert last["records_per_second"] > 0
    assert sum(lane["applied"] for lane in last["lanes"].values()) == 55


def read_terminal(terminal: int) -> str:
    """Returns everything that is written to a terminal until its last writer closes it."""
    shown = b""
    with contextlib.suppress(OSError):  # how Linux reports the end
        while chunk := os.read(terminal, 65536):
            shown += chunk
    os.close(terminal)
    return shown.decode()


async def test_verify_on_a_terminal_shows_a_bar_and_changes_nothing(
    written: Pipeline, environment: Environment
) -> None:
    await plant(written)
    before = await content(written)
    terminal, end = pty.openpty()
    process = await start_command({**environment, "TERM": "xterm", "COLUMNS": "200"}, "verify", stderr=end)
    os.close(end)
    shown, result = await asyncio.gather(
        asyncio.to_thread(read_terminal, terminal), wait_for_command(process)
    )
    assert result.code == DIFFERENT
    assert result.out.splitlines()[-1].endswith("Nothing was replaced.")
    assert "55 of 55 records (100 %)" in shown
    assert "100%" in shown, "the bar"
    assert await content(written) == before


async def test_report_names_each_difference_and_changes_nothing(
    written: Pipeline, environment: Environment
) -> None:
    await plant(written)
    before = await content(written)
    report, _ = await rebuild(environment, "--keep", code=DIFFERENT)
    named = {(difference["account"], difference["field"]) for difference in report["differences"]}
    assert named >= PLANTED.keys()
    assert {account for account, _ in named} == {account for account, _ in PLANTED}
    assert report["quarantine"] == {"missing": 1, "applied": 0}
    values = {
        (each["account"], each["field"]): (each["live"], each["shadow"]) for each in report["differences"]
    }
    assert values["acc-1", "balance"] == ("0.76", "0.75")
    assert values["extra", "account"] == ("present", "missing")
    assert values["disputed", "disputed"] == ("false", "true")
    result = await run_command(
        environment, "rebuild", "--limit", "2"
    )  # continues with the shadow that was kept
    assert (result.code, result.out.count(" replayed ")) == (DIFFERENT, 2)
    assert "5 accounts differ (" in result.out
    assert "replaying: " not in result.err
    assert await content(written) == before
    assert await shadows(written) == []


async def test_killed_replay_changes_nothing_and_continues_later(
    written: Pipeline, environment: Environment
) -> None:
    before = await content(written)
    url = written.database.address("owner", f"{written.database.name}_rebuild")
    async with faulty_proxy(environment["LIVEBALANCE_POSTGRES_OWNER"]) as (proxy, owner):
        changed = {"LIVEBALANCE_BATCH_RECORDS": "1", "LIVEBALANCE_POSTGRES_OWNER": owner}
        command = await start_command({**environment, **changed}, "rebuild", "--json")
        await until_applied(url, 0)
        proxy.delay = 0.2  # so that the replay does not end before the test sees it
        applied = await until_applied(url, 5)
        command.kill()
        await command.wait()
    assert await content(written) == before
    assert applied < 55
    report, progress = await rebuild(environment)
    assert report["equal"]
    assert next(line["applied"] for line in progress if "applied" in line) >= applied


async def until_applied(url: str, records: int, seconds: float = 60) -> int:
    """Waits until so many records are applied to the shadow, and returns their number."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                connection = await asyncpg.connect(url)
                try:
                    applied = await connection.fetchval(
                        "select coalesce(sum(transfers_next + balances_next), 0)::int from lane"
                    )
                finally:
                    await connection.close()
                if applied >= records:
                    return int(applied)
            except (asyncpg.InvalidCatalogNameError, asyncpg.UndefinedTableError):
                pass
            await asyncio.sleep(0.01)


async def test_halted_shadow_is_reported_and_replayed_again(
    written: Pipeline, environment: Environment
) -> None:
    result = await run_command({**environment, "LIVEBALANCE_MAX_CONSECUTIVE_REJECTS": "0"}, "rebuild")
    assert result.code == 1
    assert "of the shadow is halted: more than 0 consecutive records" in result.err
    assert result.err.count("\nlivebalance: ") == 1
    report, _ = await rebuild(environment, "--restart")
    assert report["equal"]


async def test_database_that_is_no_shadow_is_rejected(pipeline: Pipeline, environment: Environment) -> None:
    for url, reason in [
        (pipeline.database.url("owner"), "the database of the projection itself"),
        (pipeline.database.address("owner", "livebalance_template"), "is not a shadow"),
    ]:
        result = await run_command(environment, "rebuild", "--shadow", url)
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert reason in result.err
    assert (await run_command(environment, "rebuild", "--swap")).code == 1
