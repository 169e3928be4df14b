"""`livebalance rebuild --swap` on real servers: it replaces what differs, or nothing, and clients go on."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from livebalance.client.event import Changed
from livebalance.stack.paths import free_port
from livebalance.wire.frame import DeltaFrame, Snapshot
from tests.checker import replay
from tests.integration.cli.command_line import run_command
from tests.integration.gateway.checked_client import CheckedClient
from tests.integration.gateway.gateway_process import GatewayProcess
from tests.integration.projector.pipeline import Pipeline, balance, transfer
from tests.integration.rebuild.history import BUSY, content, plant, traffic, write_history
from tests.integration.rebuild.test_rebuild import Environment, rebuild
from tests.tokens import SECRET

SWAP = ("--swap", "--reason", "planted differences")


@pytest.fixture
async def planted(pipeline: Pipeline) -> Pipeline:
    """A pipeline with a difference of each kind, whose projector still runs."""
    pipeline.start()
    await write_history(pipeline)
    await plant(pipeline)
    return pipeline


@pytest.fixture
async def gateway(planted: Pipeline, tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway of the pipeline."""
    environment = {
        "LIVEBALANCE_POSTGRES": planted.database.url("gateway"),
        "LIVEBALANCE_REDIS": planted.redis,
        "LIVEBALANCE_CHANNEL_PREFIX": planted.prefix,
        "LIVEBALANCE_DEMO_SECRET": SECRET,
    }
    gateway = GatewayProcess("gateway-1", free_port(), tmp_path / "gateway-1.log", environment)
    await gateway.start()
    yield gateway
    gateway.end()


def snapshots(client: CheckedClient, account: str) -> list[Snapshot]:
    changes = (event for event in client.of(Changed) if event.account.account == account)
    return [change.frame for change in changes if isinstance(change.frame, Snapshot)]


def newest(client: CheckedClient, account: str) -> Any:
    return next(
        (event.account for event in reversed(client.of(Changed)) if event.account.account == account), None
    )


async def test_swap_replaces_what_differs_while_transfers_arrive(
    planted: Pipeline, environment: Environment, gateway: GatewayProcess
) -> None:
    [[old]] = await planted.query("select epoch from projection")
    async with CheckedClient([gateway.ws], ["acc-1", "extra", BUSY]) as client:
        async with traffic(planted):
            await client.until(lambda: all(snapshots(client, each) for each in ("acc-1", "extra", BUSY)))
            report, _ = await rebuild(environment, *SWAP)
            assert (report["equal"], report["swapped"], report["accounts_different"]) == (False, True, 5)
            await client.until(
                lambda: all(len(snapshots(client, each)) == 2 for each in ("acc-1", "extra", BUSY)), 30
            )
            await client.until(lambda: isinstance(client.of(Changed)[-1].frame, DeltaFrame))
        await planted.write([transfer("acc-1", "t-4", 25), balance("acc-1", 4, "t-4", 100)])
        await client.until(lambda: newest(client, "acc-1").balance.amount == "1.00")
        assert [snapshot.reason for snapshot in snapshots(client, "acc-1")] == ["subscribed", "epoch"]
        assert [snapshot.reason for snapshot in snapshots(client, BUSY)] == ["subscribed", "epoch"]
        assert newest(client, "extra").balance is None
        replay(client.frames)
        await assert_swapped(planted, old, report["epoch"])
        await until_shown(planted, client)
    report, _ = await rebuild(environment)
    assert report["equal"], report


async def assert_swapped(pipeline: Pipeline, old: str, new: str) -> None:
    [projection] = await pipeline.query(
        "select epoch, (select count(distinct epoch) from lane) from projection"
    )
    assert tuple(projection) == (new, 1)
    [row] = await pipeline.query("select what, was, became, why from intervention")
    assert tuple(row) == ("epoch", old, new, "rebuild replaced 5 accounts: planted differences")
    accounts = await pipeline.accounts()
    assert "extra" not in accounts
    assert accounts["acc-0"]["revision"] == 7
    assert await pipeline.transfer_ids("acc-0") == ["t-1", "t-2", "t-3"]
    assert await pipeline.transfer_ids("erased") == []
    assert accounts["disputed"]["disputed_since"] is not None
    await pipeline.wait_for("select count(*)::int from quarantine where state = 'held'", 1)
    counted = "select sum(disputed)::int from lane having every(totals_generation = generation)"
    await pipeline.wait_for(counted, 1)


async def until_shown(pipeline: Pipeline, client: CheckedClient) -> None:
    """Waits until the client shows the busy account as Postgres has it, after all that was written."""
    await pipeline.wait_for(f"select half_applied::text from balance where account_id = '{BUSY}'", "0.00")
    row = (await pipeline.accounts())[BUSY]
    async with asyncio.timeout(30):
        while Decimal(newest(client, BUSY).balance.amount) != row["balance"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_swap_killed_before_its_commit_changes_nothing(
    planted: Pipeline, environment: Environment
) -> None:
    before = await content(planted)
    failing = {**environment, "LIVEBALANCE_FAILPOINT": "before_swap_commit"}
    killed = await run_command(failing, "rebuild", *SWAP)
    assert killed.code == -9, killed.err
    assert await content(planted) == before
    report, _ = await rebuild(environment, *SWAP)
    assert (report["swapped"], report["accounts_different"]) == (True, 5)
    report, _ = await rebuild(environment)
    assert report["equal"], report


async def test_swap_that_takes_too_long_changes_nothing(planted: Pipeline, environment: Environment) -> None:
    before = await content(planted)
    batch = await asyncpg.connect(planted.database.url("owner"), timeout=30)
    try:
        async with batch.transaction():  # of a projector that does not end its batch
            await batch.execute("lock table lane in row exclusive mode")
            result = await run_command(environment, "rebuild", *SWAP, "--hold", "1")
    finally:
        await batch.close()
    assert result.code == 1, result.out
    assert "nothing was swapped within 1 s" in result.err
    assert await content(planted) == before
    assert await planted.query("select from intervention") == []
