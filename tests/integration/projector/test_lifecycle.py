"""Openings and erasures of the lifecycle topic: a replay keeps them after the balances are compacted."""

import secrets
import time
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path

import pytest

from livebalance.projector.kafka.lifecycle import LifecycleConsumer
from livebalance.runtime.errors import StartupError
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.topics import find_lifecycle_topic
from livebalance.stack.servers.topics import Topics
from livebalance.wire.identity import Lane
from livebalance.wire.kafka.raw_record import RawRecord
from tests.integration.projector.lifecycle_topics import (
    compacting,
    empty_projection,
    wait_until_compacted,
    write_erasure,
    write_opening,
    write_openings_in_transactions,
)
from tests.integration.projector.pipeline import Pipeline, balance, transfer
from tests.servers.topics import delete_topics

OPENING = """
select account_id, opening, opening_known, drift, posted_total, disputed_why is not null as disputed,
       (select array_agg(balance_after order by revision) from reporting.transfers t
         where t.account_id = b.account_id) as balances_after
  from balance b where account_id <> 'filler' order by account_id
"""
LATE_SECONDS = 1.0
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


async def test_transfers_erased_before_the_claim_are_never_listed(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records of the lifecycle topic arrive later than the others. The lane waits for them."""
    fetch, begin = LifecycleConsumer.fetch, time.monotonic()

    async def fetch_late(self: LifecycleConsumer, lanes: Collection[Lane]) -> dict[Lane, list[RawRecord]]:
        return await fetch(self, lanes) if time.monotonic() > begin + LATE_SECONDS else {}

    await pipeline.write([transfer("alice", f"t-{number}", 1) for number in range(3)], 0)
    await write_erasure(pipeline, "alice", 2, with_null=False)
    begin = time.monotonic()
    monkeypatch.setattr(LifecycleConsumer, "fetch", fetch_late)
    async with pipeline.running():
        await pipeline.wait_for("select transfer_count::int from balance where erased_revision > 0", 1)
    [[erased_revision, revision]] = await pipeline.query("select erased_revision, revision from balance")
    assert (erased_revision, revision) == (1, 2)
    assert await pipeline.transfer_ids("alice") == ["t-2"]


async def test_lane_goes_on_after_the_markers_of_transactions(pipeline: Pipeline) -> None:
    async with compacting(pipeline) as live:
        await write_openings_in_transactions(live, ["alice", "bob", "carol"])
        for number in range(2):  # the second claim begins behind the record, and before the markers
            async with live.running():
                await live.write([transfer("alice", f"t-{number}", 1)], partition=0)
                await live.wait_for("select transfer_count::int from balance", number + 1)
        [row] = (await live.accounts()).values()
        assert (row["account_id"], row["opening_known"]) == ("alice", True)


async def test_opening_is_not_known_without_a_lifecycle_topic(pipeline: Pipeline) -> None:
    async with pipeline.running(lifecycle_topic="not-there"):
        await pipeline.write([balance("alice", 0, "", 100_00), transfer("alice", "t-1", 1)])
        await pipeline.wait_for("select transfer_count::int from balance where opening is not null", 1)
        known = await pipeline.query("select opening_known from reporting.balances")
        assert known == [(False,)]


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"cleanup.policy": "compact"}, "compacted"),
        ({"retention.ms": "604800000"}, "retention.ms=-1"),
        (None, "has 2 partitions"),
    ],
)
async def test_lifecycle_topic_that_does_not_fit_is_rejected(
    kafka: str, config: dict[str, str] | None, reason: str, tmp_path: Path
) -> None:
    name, broker = f"l-{secrets.token_hex(6)}", Broker(kafka)
    settings = {"retention.ms": "-1", **(config or {})}
    rules = "".join(f'"{key}" = "{value}"\n' for key, value in settings.items())
    (tmp_path / "topics.toml").write_text(f"[transfers]\n[account-balances]\n[account-lifecycle]\n{rules}")
    topics = Topics(f"t-{name}", f"b-{name}", 1 if config else 2, lifecycle=name)
    await topics.create(broker, tmp_path / "topics.toml")
    try:
        with pytest.raises(StartupError, match=reason):
            await find_lifecycle_topic(broker, name, 1)
    finally:
        await delete_topics(topics, broker)


async def test_recreated_lifecycle_topic_halts_its_lanes(pipeline: Pipeline) -> None:
    async with compacting(pipeline) as live, live.running():
        await write_opening(live, "alice", 7)
        await live.wait_for("select opening_known from balance where account_id = 'alice'", True)
        await delete_topics(Topics(live.topics.lifecycle, "none"), Broker(live.kafka))
        await live.topics.create(Broker(live.kafka), live.directory / "topics.toml")
        await live.wait_for("select halted_why like '%has another topic id now%' from lane", True)


async def test_damaged_record_of_the_lifecycle_topic_is_quarantined(pipeline: Pipeline) -> None:
    async with compacting(pipeline) as live, live.running():
        await live.write_raw(live.topics.lifecycle, b"alice", b"{", 0)
        await write_opening(live, "alice", 7)
        await live.wait_for("select opening_known from balance where account_id = 'alice'", True)
        rows = await live.query("select topic, reason from quarantine")
        assert rows == [(live.topics.lifecycle, "not an opening or erasure in JSON")]
        [[next_offset]] = await live.query("select lifecycle_next from lane")
        assert next_offset == 2
