"""A projector with `read_until`: it stops at exact offsets, so that a shadow can be compared."""

from tests.integration.projector.pipeline import Pipeline, history
from tests.integration.projector.redis_listener import redis_listener


async def test_projector_stops_at_its_ends_and_publishes_nothing(pipeline: Pipeline) -> None:
    first, second = history("first", range(1, 9)), history("second", [1, 2])
    await pipeline.write(first, partition=0)
    async with redis_listener(pipeline.redis, pipeline.prefix) as listener:
        pipeline.start(read_until="0:3:4,1:9:9,2:0:0", batch_records=2)
        await pipeline.wait_for("select transfers_next::int + balances_next::int from lane where lane = 0", 7)
        await pipeline.write(history("first", [9], first=9), partition=0)
        await pipeline.write(second, partition=1)
        await pipeline.wait_for("select transfers_next::int + balances_next::int from lane where lane = 1", 5)
        lane = await pipeline.query("select transfers_next, balances_next from lane where lane = 0")
        assert [tuple(row) for row in lane] == [(3, 4)]
        assert (listener.deltas, listener.progress) == ([], [])
    assert await pipeline.transfer_ids("first") == ["t-1", "t-2", "t-3"]
    pipeline.stop()
    pipeline.start("projector-2", read_until="0:8:9,1:9:9,2:0:0")  # it continues at the end of the first
    await pipeline.wait_for("select transfers_next::int + balances_next::int from lane where lane = 0", 17)
    await pipeline.assert_exact([*first, *second])
