"""Openings and erasures of the lifecycle topic: a replay keeps them after the balances are compacted."""

from decimal import Decimal

from tests.integration.projector.lifecycle_topics import (
    compacting,
    empty_projection,
    wait_until_compacted,
    write_erasure,
    write_opening,
)
from tests.integration.projector.pipeline import Pipeline, balance, transfer

OPENING = """
select account_id, opening, opening_known, drift, posted_total, disputed_why is not null as disputed,
       (select array_agg(balance_after order by revision) from reporting.transfers t
         where t.account_id = b.account_id) as balances_after
  from balance b where account_id <> 'filler' order by account_id
"""
KNOWN = [("alice", Decimal(100), True, Decimal(1), Decimal(50), True, [Decimal(120), Decimal(150)])]


async def test_replay_after_compaction_keeps_a_wrong_opening_wrong(pipeline: Pipeline) -> None:
    async with compacting(pipeline) as live:
        await write_opening(live, "alice", 100_00)
        await live.write(
            [
                balance("alice", 0, "", 100_00),
                transfer("alice", "t-1", 20_00),
                balance("alice", 1, "t-1", 121_00),
                transfer("alice", "t-2", 30_00),
                balance("alice", 2, "t-2", 151_00),
            ],
            partition=0,
        )
        async with live.running():
            await live.wait_for("select version::int from balance where account_id = 'alice'", 2)
            await live.wait_for("select opening_known from balance where account_id = 'alice'", True)
        assert [tuple(row) for row in await live.query(OPENING)] == KNOWN
        await wait_until_compacted(live, [("alice", True)])
        async with empty_projection(live) as replay, replay.running():
            await replay.wait_for("select version::int from balance where account_id = 'alice'", 2)
            await replay.wait_for("select transfer_count::int from balance where account_id = 'alice'", 2)
            assert [tuple(row) for row in await replay.query(OPENING)] == KNOWN


async def test_replay_after_compaction_keeps_an_erased_account_erased(pipeline: Pipeline) -> None:
    async with compacting(pipeline) as live:
        await write_opening(live, "alice", 0)
        await live.write(
            [
                balance("alice", 0, "", 0),
                transfer("alice", "t-1", 20_00),
                balance("alice", 1, "t-1", 20_00),
                transfer("alice", "t-2", 30_00),
                balance("alice", 2, "t-2", 50_00),
            ],
            partition=0,
        )
        async with live.running():
            await live.wait_for("select transfer_count::int from balance where account_id = 'alice'", 2)
            await write_erasure(live, "alice", 2)
            await live.wait_for("select transfer_count::int from balance where account_id = 'alice'", 0)
            await write_opening(live, "alice", 0)
            await live.write(
                [
                    balance("alice", 0, "", 0),
                    transfer("alice", "t-3", 5_00),
                    balance("alice", 1, "t-3", 5_00),
                ],
                partition=0,
            )
            await live.wait_for("select drift::int from balance where version = 1", 0)
            await live.wait_for("select opening_known from balance where account_id = 'alice'", True)
        expected = [("alice", Decimal(0), True, Decimal(0), Decimal(5), False, [Decimal(5)])]
        assert [tuple(row) for row in await live.query(OPENING)] == expected
        await wait_until_compacted(live, [("alice", True)])
        async with empty_projection(live) as replay, replay.running():
            await replay.wait_for("select drift::int from balance where version = 1", 0)
            assert [tuple(row) for row in await replay.query(OPENING)] == expected
            assert await replay.transfer_ids("alice") == ["t-3"]


async def test_transfers_listed_before_their_erasure_arrives_are_kept(pipeline: Pipeline) -> None:
    async with compacting(pipeline) as live, live.running():
        await live.write(
            [transfer("alice", f"t-{number}", number) for number in range(1, 5)]
            + [balance("alice", 4, "t-4", 10)],
            partition=0,
        )
        await live.wait_for("select transfer_count::int from balance where account_id = 'alice'", 4)
        await write_erasure(live, "alice", 2)
        await live.wait_for("select transfer_count::int from balance where account_id = 'alice'", 2)
        listed = "select transfer_id, total::text from reporting.transfers order by revision"
        assert [tuple(row) for row in await live.query(listed)] == [("t-3", "0.03"), ("t-4", "0.07")]
        assert (await live.accounts())["alice"]["balance"] is None


async def test_opening_is_not_known_without_a_lifecycle_topic(pipeline: Pipeline) -> None:
    async with pipeline.running(lifecycle_topic="not-there"):
        await pipeline.write([balance("alice", 0, "", 100_00), transfer("alice", "t-1", 1)])
        await pipeline.wait_for("select transfer_count::int from balance where opening is not null", 1)
        known = await pipeline.query("select opening_known from reporting.balances")
        assert known == [(False,)]


async def test_damaged_record_of_the_lifecycle_topic_is_quarantined(pipeline: Pipeline) -> None:
    async with compacting(pipeline) as live, live.running():
        await live.write_raw(live.topics.lifecycle, b"alice", b"{", 0)
        await write_opening(live, "alice", 7)
        await live.wait_for("select opening_known from balance where account_id = 'alice'", True)
        rows = await live.query("select topic, reason from quarantine")
        assert rows == [(live.topics.lifecycle, "not an opening or erasure in JSON")]
        [[next_offset]] = await live.query("select lifecycle_next from lane")
        assert next_offset == 2
