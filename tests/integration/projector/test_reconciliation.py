"""Each planted difference between Kafka and SQL is found within a minute, and an honest lane has none."""

import itertools
import signal

import pytest

from livebalance.stack.paths import free_port
from livebalance.wire.kafka.record import Balance, Transfer
from tests.integration.projector.pipeline import Pipeline, balance, history, transfer, wait_until
from tests.scrape import wait_for_metrics

SECONDS = 60.0
NONE = [0, 0, 0, 0]
SUMS = "select array[sum(missing), sum(different), sum(extra), sum(restored)]::int[] from {}"
BY_HOUR = SUMS.format("reporting.kafka_reconciliation")
BY_LANE = SUMS.format("reporting.kafka_reconciliation_lanes")
COMPARED = "select coalesce(sum(kafka_records), 0)::int from reporting.kafka_reconciliation"
ROUND = "select min({}) > $1::timestamptz from reporting.kafka_reconciliation_lanes"
RECORDS = history("alice", range(1, 41)) + history("bob", range(1, 31)) + history("carol", range(1, 21))
EXTRA = """
insert into transfer
select account_id, 1000, 'planted', 5, total, occurred_at, recorded_at, topic, lane, source_offset
  from transfer where account_id = 'carol' and transfer_id = 't-5'
"""
GIVE_BACK = """
insert into transfer select (jsonb_populate_record(t, jsonb_build_object('revision', 100000))).* from backup t
"""

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
async def compared(pipeline: Pipeline) -> Pipeline:
    """A running projector whose 90 transfers and a rejected record are compared, without a difference."""
    pipeline.start()
    await pipeline.write(RECORDS)
    await pipeline.write_raw(pipeline.topics.transfers, b"alice", b"bad")
    await pipeline.wait_for(COMPARED, 91, SECONDS)
    await assert_found(pipeline)
    return pipeline


async def assert_found(
    pipeline: Pipeline, missing: int = 0, different: int = 0, extra: int = 0, restored: int = 0
) -> None:
    """Waits until exactly these differences are stored, by hour and by lane."""
    counts = [missing, different, extra, restored]
    await pipeline.wait_for(BY_HOUR, counts, SECONDS)
    await pipeline.wait_for(BY_LANE, counts, SECONDS)


async def sums(pipeline: Pipeline) -> tuple[object, ...]:
    query = "select sum(kafka_sum), sum(sql_sum), sum(sql_rows)::int from reporting.kafka_reconciliation"
    return tuple((await pipeline.query(query))[0])


async def test_change_of_a_row_is_found(compared: Pipeline) -> None:
    total = sum(range(1, 41)) + sum(range(1, 31)) + sum(range(1, 21))
    assert [str(value) for value in await sums(compared)] == [f"{total / 100:.2f}"] * 2 + ["90"]
    await compared.query("update transfer set amount = 7 where account_id = 'alice' and transfer_id = 't-3'")
    await assert_found(compared, different=1)
    await compared.query("delete from transfer where account_id = 'bob' and transfer_id = 't-3'")
    await assert_found(compared, missing=1, different=1)
    await compared.query(EXTRA)
    await assert_found(compared, missing=1, different=1, extra=1)
    await compared.query("delete from quarantine")
    await assert_found(compared, missing=2, different=1, extra=1)
    await compared.query("delete from transfer where transfer_id = 'planted'")
    await assert_found(compared, missing=2, different=1)


async def test_records_that_the_projector_jumped_over_are_found(pipeline: Pipeline) -> None:
    projector = pipeline.start()
    await pipeline.write(history("alice", range(1, 21)), partition=0)
    await pipeline.wait_for(COMPARED, 20, SECONDS)
    projector.stop()
    await pipeline.write(history("bob", range(1, 8)), partition=0)
    await pipeline.query("update lane set transfers_next = transfers_next + 5 where lane = 0")
    pipeline.start("projector-2")
    await assert_found(pipeline, missing=5)
    await pipeline.wait_for(COMPARED, 27, SECONDS)  # the new owner went on, and counted no record twice


async def test_transfer_given_back_after_an_erasure_is_found(compared: Pipeline) -> None:
    await compared.query("create table backup as select * from transfer where account_id = 'alice' limit 1")
    await compared.write_raw(compared.topics.balances, b"alice", None)
    erased = "select sum(erased)::int from reporting.kafka_reconciliation"
    await compared.wait_for(erased, 41, SECONDS)  # the rejected record is no longer applied either
    await assert_found(compared)
    await compared.wait_for("select count(*)::int from transfer where account_id = 'alice'", 0)
    await compared.query(GIVE_BACK)
    await assert_found(compared, restored=1)


async def test_transfer_that_no_balance_includes_is_found(pipeline: Pipeline) -> None:
    port = free_port()
    pipeline.start(http_port=port)
    await pipeline.write([*history("alice", range(1, 11)), *history("bob", range(1, 3))])
    await pipeline.write([transfer("alice", "dropped", 500), transfer("carol", "dropped-too", 1)])
    late = "select sum(half_applied)::int from reporting.kafka_reconciliation_lanes"
    await pipeline.wait_for(late, 2, SECONDS)
    metrics = await wait_for_metrics(
        f"http://127.0.0.1:{port}",
        lambda now: now.sum("livebalance_projector_half_applied_seconds") > 10,
        SECONDS,
    )
    assert metrics.sum("livebalance_projector_half_applied_accounts") == 2
    assert metrics.sum("livebalance_projector_differences") == 0
    await pipeline.write([balance("alice", 11, "dropped", 555), balance("carol", 1, "dropped-too", 1)])
    await pipeline.wait_for(late, 0, SECONDS)


def load() -> list[Transfer | Balance]:
    """Returns records of many accounts: in turns, with repeated transfers, and ids that are used twice."""
    histories = [history(f"account-{number}", range(1, 101)) for number in range(40)]
    records = [record for turn in zip(*histories, strict=True) for record in turn]
    transfers = [record for record in records if isinstance(record, Transfer)]
    contradictions = [item._replace(amount=item.amount.add(item.amount)) for item in transfers[100:110]]
    return records + list[Transfer | Balance](transfers[::7]) + list[Transfer | Balance](contradictions)


async def test_honest_projector_has_no_differences(pipeline: Pipeline) -> None:
    records = load()
    victim = pipeline.start(crash_at="before_commit:2", max_consecutive_rejects=1000)
    await pipeline.write(records[:4000])
    await wait_until(lambda: victim.exit_code == -signal.SIGKILL)
    pipeline.start("projector-2", max_consecutive_rejects=1000)
    await pipeline.write(records[4000:])
    for number in range(20):
        await pipeline.write_raw(pipeline.topics.transfers, f"account-{number}".encode(), b"bad")
    for number in range(10):
        await pipeline.write_raw(pipeline.topics.balances, f"account-{number}".encode(), None)
    # Nothing orders the two topics: before its erasure, an account rejects what comes again.
    await pipeline.wait_for("select count(*)::int from balance where erased_revision > 0", 10, SECONDS)
    again = [history(f"account-{number}", range(5, 9)) for number in range(5)]
    await pipeline.write_in_transactions(itertools.chain(*again), pipeline.prefix)
    written = sum(isinstance(record, Transfer) for record in records) + 20 + 5 * 4
    await pipeline.wait_for(COMPARED, written, 2 * SECONDS)
    now = (await pipeline.query("select now()::text"))[0][0]
    for column in ("round_began_at", "round_ended_at"):  # a whole round after the last record
        await pipeline.wait_for(ROUND.format(column).replace("$1", f"'{now}'"), True, 2 * SECONDS)
        now = (await pipeline.query("select now()::text"))[0][0]
    assert (await pipeline.query(BY_HOUR))[0][0] == NONE
    assert (await pipeline.query(BY_LANE))[0][0] == NONE
    # The rejected records of erased accounts count as erased, unless they were fetched after the erasure.
    # How many were rejected depends on the order in which the two topics were read.
    counts = "select sum(quarantined)::int, sum(duplicates) > 0, sum(erased) > 0 from reconciliation"
    [[quarantined, *others]] = await pipeline.query(counts)
    rejected = f"select count(*)::int from quarantine where topic = '{pipeline.topics.transfers}'"
    assert 20 <= quarantined <= (await pipeline.query(rejected))[0][0]
    assert others == [True, True]
