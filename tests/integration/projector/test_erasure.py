"""Erasing an account with many transfers: its lane goes on, and a kill -9 in between loses nothing."""

import signal

import asyncpg

from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer, wait_until
from tests.integration.projector.redis_listener import redis_listener

MANY = 300_000
# "big" had a balance record after each transfer. Its last revision is that of a balance record.
FILL = """
insert into transfer
select 'big', 2 * n, 't-' || n, 0.01, 0.01 * n, 'epoch', 'epoch', 'transfers', 0, n
  from generate_series(1, $many) n;
insert into balance (account_id, revision, lane, balance, scale, currency, version, transfer_id, client_id,
                     opening, posted_total, transfer_count, half_applied, drift, recorded_at)
select 'big', 2 * $many + 1, 0, 0.01 * $many, 2, 'EUR', $many, 't-' || $many, 'client',
       0, 0.01 * $many, $many, 0, 0, 'epoch'
"""
STORED = "select count(*)::int from transfer where account_id = 'big' and revision <= 2 * $many + 2"
VISIBLE = "select array_agg(transfer_id) from reporting.transfers where account_id = 'big'"


async def fill(pipeline: Pipeline) -> None:
    owner = await asyncpg.connect(pipeline.database.url("owner"))
    await owner.execute(FILL.replace("$many", str(MANY)))
    await owner.execute("analyze")
    await owner.close()


async def stored(pipeline: Pipeline) -> int:
    """Returns how many erased transfers are not deleted yet."""
    return int((await pipeline.query(STORED.replace("$many", str(MANY))))[0][0])


async def test_lane_goes_on_while_an_account_with_many_transfers_is_erased(pipeline: Pipeline) -> None:
    await fill(pipeline)
    changes = 0  # of another account during the erasure
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener, pipeline.running():
        await pipeline.write(history("small", [1]), partition=0)
        await listener.wait_for_revision("small", 3)
        await pipeline.write_raw(pipeline.topics.balances, b"big", None, 0)
        revision, left = 3, MANY
        while left:
            revision += 1
            await pipeline.write([transfer("small", f"u-{revision}", 1)], partition=0)
            await listener.wait_for_revision("small", revision)
            changes += 1
            if revision == 6:
                assert await pipeline.query(VISIBLE) == [(None,)]
                again: list[Transfer | Balance] = [
                    balance("big", 0, "", 0),
                    transfer("big", "t-299999", 5),
                    transfer("big", "t-7", 5),
                ]
                await pipeline.write(again, partition=0)
                await listener.wait_for_revision("big", 2 * MANY + 5)
                assert await pipeline.query(VISIBLE) == [(["t-299999", "t-7"],)]
            left = await stored(pipeline)
    assert changes > 5
    assert await pipeline.query(VISIBLE) == [(["t-299999", "t-7"],)]
    assert (await pipeline.accounts())["big"]["disputed_since"] is None


async def test_erasure_continues_after_kill(pipeline: Pipeline) -> None:
    await fill(pipeline)
    victim = pipeline.start(crash_at="after_erased_piece:5")
    await pipeline.write_raw(pipeline.topics.balances, b"big", None, 0)
    await wait_until(lambda: victim.exit_code == -signal.SIGKILL)
    assert 0 < await stored(pipeline) < MANY
    assert await pipeline.query(VISIBLE) == [(None,)]
    pipeline.start("projector-2", projector_group=f"again-{pipeline.prefix}")
    await pipeline.wait_for(
        "select deleted_revision = erased_revision from balance where account_id = 'big'", True
    )
    assert await stored(pipeline) == 0
