"""The metrics of a recorder's process."""

from pathlib import Path

from livebalance.recorder.partition import transactional_id
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.producer import create_producer, stop_producer
from livebalance.stack.paths import free_port
from livebalance.wire.identity import Lane
from tests.conftest import MakeTopics
from tests.integration.recorder.recorder_process import recorder_process, settings
from tests.integration.recorder.topic_records import plain_producer, send_transfers, transfer
from tests.scrape import Scrape, wait_for_metrics
from tests.servers.database import Database

PREFIX = "livebalance_recorder"


def count(scrape: Scrape, verdict: str) -> float:
    return scrape.sum(f"{PREFIX}_transfers_total", verdict=verdict)


def lag(scrape: Scrape) -> tuple[float, float]:
    if not list(scrape.of(f"{PREFIX}_lag_records")):
        return -1, -1
    return scrape.sum(f"{PREFIX}_lag_records"), scrape.sum(f"{PREFIX}_lag_seconds")


async def test_metrics_of_a_busy_recorder_show_lag_verdicts_and_a_fence(
    kafka: str, make_topics: MakeTopics, tmp_path: Path, database: Database
) -> None:
    topics = await make_topics(partitions=1)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    sent = [transfer(f"t-{number}", "alice", 100) for number in range(60)]
    await send_transfers(kafka, topics, [*sent, sent[0], transfer("no id", "alice", 1)])
    async with plain_producer(kafka) as plain:
        await plain.send_and_wait(topics.transfers, b"bad", b"alice")
    process = recorder_process(
        settings(kafka, topics, database), tmp_path / "log", batch_records="1", http_port=str(port)
    )
    try:
        async with database.locked("quarantine"):  # the recorder waits there, so that it is seen busy
            process.start()
            busy = await wait_for_metrics(
                url, lambda scrape: lag(scrape)[0] > 0 and count(scrape, "applied") > 0
            )
        assert busy.sum(f"{PREFIX}_lag_seconds") > 0
        done = await wait_for_metrics(
            url, lambda scrape: count(scrape, "undecodable") == 1 and lag(scrape) == (0, 0)
        )
        names = ("opened", "applied", "duplicate", "rejected", "already_recorded")
        assert {name: count(done, name) for name in names} == {
            "opened": 1,
            "applied": 59,
            "duplicate": 1,
            "rejected": 1,
            "already_recorded": 0,
        }
        assert done.sum(f"{PREFIX}_batch_seconds_count", stage="commit") == 63
        assert done.sum(f"{PREFIX}_partitions", state="running") == 1
        assert done.sum(f"{PREFIX}_fenced_total") == 0
        other = create_producer(Broker(kafka), "other", transactional_id(topics.transfers, Lane(0)))
        await other.start()
        try:
            await send_transfers(kafka, topics, [transfer("t-last", "alice", 1)])
            await wait_for_metrics(url, lambda scrape: count(scrape, "applied") == 60)
        finally:
            await stop_producer(other)
        last = await wait_for_metrics(url, lambda scrape: lag(scrape) == (0, 0))
        assert last.sum(f"{PREFIX}_open_transaction_seconds", topic=topics.transfers, lane="0") == 0
        assert last.sum(f"{PREFIX}_fenced_total") == 1
        assert last.sum(f"{PREFIX}_partition_releases_total", fate="fenced") == 1
        assert not [sample for sample in last.samples if "alice" in sample.labels.values()]
    finally:
        process.stop()
