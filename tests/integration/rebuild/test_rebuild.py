"""`livebalance rebuild` on real servers."""

import json
from typing import Any

import pytest

from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.cli.command_line import CommandResult, run_command
from tests.integration.projector.pipeline import Pipeline, balance, history

ACCOUNTS = [f"acc-{number}" for number in range(6)]
DIFFERENT = 3  # exit code


async def write_history(pipeline: Pipeline) -> None:
    """Writes accounts, of which one is disputed and one erased, and a transfer that cannot be decoded."""
    records: list[Transfer | Balance] = [
        record for account in ACCOUNTS for record in history(account, [100, -30, 5])
    ]
    await pipeline.write([*records, *history("erased", [7, 8]), *history("disputed", [1, 2])])
    await pipeline.write([balance("disputed", 2, "t-2", 999)])
    await pipeline.write_raw(pipeline.topics.balances, b"erased", None)
    await pipeline.write_raw(pipeline.topics.transfers, b"acc-0", b"junk")
    await pipeline.wait_for("select sum(transfers_next)::int from lane", 3 * len(ACCOUNTS) + 2 + 2 + 1)
    await pipeline.wait_for("select sum(balances_next)::int from lane", 4 * len(ACCOUNTS) + 3 + 3 + 2)


async def rebuild(environment: dict[str, str], *words: str) -> CommandResult:
    return await run_command(environment, "rebuild", "--json", *words)


async def report_of(environment: dict[str, str], *words: str, code: int = 0) -> dict[str, Any]:
    result = await rebuild(environment, *words)
    assert result.code == code, result.err
    report: dict[str, Any] = json.loads(result.out)
    return report


@pytest.fixture
async def written(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose projector has applied a history, and still runs."""
    pipeline.start()
    await pipeline.wait_for("select count(*)::int from lane", 3)
    await write_history(pipeline)
    return pipeline


async def test_untouched_projection_equals_the_replay(written: Pipeline, environment: dict[str, str]) -> None:
    report = await report_of(environment)
    assert (report["equal"], report["swapped"], report["differences"]) == (True, False, [])
    assert all(lane["live"] == lane["shadow"] for lane in report["lanes"].values())
    databases = await written.query(
        "select datname from pg_database where datname = $1", f"{written.database.name}_rebuild"
    )
    assert databases == []
