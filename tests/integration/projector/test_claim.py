"""A claim reads nothing that grows with the number of accounts. The metrics follow from the lanes' rows."""

import signal

import asyncpg

from livebalance.stack.paths import free_port
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer, wait_until
from tests.scrape import Scrape, wait_for_metrics

DRIFTS: list[Transfer | Balance] = [
    transfer("bob", "t-1", 100),
    balance("bob", 0, "", 0),
    balance("bob", 1, "t-1", 99),
]
WAITS = [balance("carol", 0, "", 0), balance("carol", 1, "t-1", 5)]
RECORDS: list[Transfer | Balance] = [
    *history("alice", [500]),
    balance("alice", 1, "t-1", 501),
    *DRIFTS,
    *WAITS,
]


def shows_the_records(now: Scrape) -> bool:
    values = [
        now.sum(f"livebalance_projector_{name}_accounts") for name in ("disputed", "drifting", "unverified")
    ]
    return values == [2, 1, 1] and now.sum("livebalance_projector_unverified_seconds") > 0


async def wait_until_shown(pipeline: Pipeline, name: str) -> None:
    port = free_port()
    child = pipeline.start(name, http_port=port)
    await wait_for_metrics(f"http://127.0.0.1:{port}", shows_the_records)
    child.send(signal.SIGKILL)


async def test_claim_reads_no_account(pipeline: Pipeline) -> None:
    await pipeline.write(history("alice", [500]))
    async with pipeline.running("projector-1"):
        await pipeline.wait_for("select count(*)::int from transfer", 1)
    owner = await asyncpg.connect(pipeline.database.url("owner"))
    try:
        async with pipeline.running("projector-2") as projector, owner.transaction():
            await owner.execute("lock table balance in access exclusive mode")
            await wait_until(lambda: bool(projector.partition_progress()))
    finally:
        await owner.close()


async def test_metrics_count_the_accounts_after_kill_and_after_an_upgrade(pipeline: Pipeline) -> None:
    await pipeline.write(RECORDS)
    await wait_until_shown(pipeline, "projector-1")
    await wait_until_shown(pipeline, "projector-2")
    # An older release owned the lanes, and kept no totals.
    await pipeline.query("update lane set generation = generation + 1, disputed = 99, unverified = -7")
    await wait_until_shown(pipeline, "projector-3")
    [row] = await pipeline.query(
        "select sum(disputed)::int, sum(drifting)::int, sum(unverified)::int from lane"
    )
    assert tuple(row) == (2, 1, 1)
