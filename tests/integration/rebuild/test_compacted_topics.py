"""`livebalance rebuild` after Kafka has compacted the balances: the lifecycle topic keeps what they lose."""

from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.lifecycle_topics import (
    compacting,
    wait_until_compacted,
    write_erasure,
    write_opening,
)
from tests.integration.projector.pipeline import Pipeline, balance, transfer
from tests.integration.rebuild.test_rebuild import DIFFERENT, Environment, rebuild


async def test_rebuild_from_compacted_topics_finds_what_differs_only(
    pipeline: Pipeline, environment: Environment
) -> None:
    """Alice's balance is wrong by 1.00, and Bob was erased: a replay from zero changes neither."""
    async with compacting(pipeline) as live:
        names = {
            "LIVEBALANCE_TRANSFERS_TOPIC": live.topics.transfers,
            "LIVEBALANCE_BALANCES_TOPIC": live.topics.balances,
            "LIVEBALANCE_LIFECYCLE_TOPIC": live.topics.lifecycle,
        }
        await write_opening(live, "alice", 100_00)
        await write_opening(live, "bob", 0)
        records: list[Transfer | Balance] = [
            balance("alice", 0, "", 100_00),
            transfer("alice", "t-1", 20_00),
            balance("alice", 1, "t-1", 121_00),
            balance("bob", 0, "", 0),
            transfer("bob", "t-2", 30_00),
            balance("bob", 1, "t-2", 30_00),
        ]
        await live.write(records, partition=0)
        async with live.running():
            await live.wait_for("select count(*)::int from balance where version = 1", 2)
            await write_erasure(live, "bob", 2)
            await live.wait_for("select transfer_count::int from balance where account_id = 'bob'", 0)
            await wait_until_compacted(live, [("alice", True)])
            report, _ = await rebuild({**environment, **names})
            assert report["equal"], report
            [row] = await live.query(
                "select drift::int, disputed_why from balance where account_id = 'alice'"
            )
            assert (row[0], row[1] is not None) == (1, True)
            await live.query("update balance set drift = 0, opening = 101 where account_id = 'alice'")
            report, _ = await rebuild({**environment, **names}, code=DIFFERENT)
            fields = {(each["account"], each["field"]) for each in report["differences"]}
            assert fields == {("alice", "drift"), ("alice", "opening")}
