"""What a recorder counts and measures, as its process shows it."""

from pathlib import Path

from livebalance.recorder.partition import transactional_id
from livebalance.runtime.kafka.connection import Broker
from livebalance.runtime.kafka.producer import producer, stop
from livebalance.stack.paths import free_port
from livebalance.wire.identity import Lane
from tests.conftest import MakeTopics
from tests.integration.recorder.process import recorder, settings
from tests.integration.recorder.topics import producing, send, transfer
from tests.scrape import Scrape, shows

PREFIX = "livebalance_recorder"


def made(now: Scrape, verdict: str) -> float:
    return now.sum(f"{PREFIX}_transfers_total", verdict=verdict)


def lag(now: Scrape) -> tuple[float, float]:
    if not list(now.of(f"{PREFIX}_lag_records")):
        return -1, -1
    return now.sum(f"{PREFIX}_lag_records"), now.sum(f"{PREFIX}_lag_seconds")


async def test_lag_verdicts_and_fences(kafka: str, make_topics: MakeTopics, tmp_path: Path) -> None:
    topics = await make_topics(partitions=1)
    chosen, port = settings(kafka, topics), free_port()
    url = f"http://127.0.0.1:{port}"
    sent = [transfer(f"t-{number}", "alice", 100) for number in range(60)]
    await send(kafka, topics, [*sent, sent[0], transfer("no id", "alice", 1)])
    async with producing(kafka) as plain:
        await plain.send_and_wait(topics.transfers, b"bad", b"alice")
    process = recorder(chosen, tmp_path / "log", batch_records="1", http_port=str(port))
    process.start()
    try:
        # Each is a transaction of its own: that takes longer than to look.
        busy = await shows(url, lambda now: lag(now)[0] > 0 and made(now, "applied") > 0, 40)
        assert busy.sum(f"{PREFIX}_lag_seconds") > 0
        done = await shows(url, lambda now: made(now, "undecodable") == 1 and lag(now) == (0, 0))
        verdicts = {
            one: made(done, one) for one in ("opened", "applied", "duplicate", "rejected", "already_recorded")
        }
        assert verdicts == {"opened": 1, "applied": 59, "duplicate": 1, "rejected": 1, "already_recorded": 0}
        assert done.sum(f"{PREFIX}_batch_seconds_count", stage="commit") == 63
        assert (done.sum(f"{PREFIX}_partitions"), done.sum(f"{PREFIX}_fenced_total")) == (1, 0)
        other = producer(Broker(kafka), "other", transactional_id(topics.transfers, Lane(0)))
        await other.start()
        try:
            await send(kafka, topics, [transfer("t-last", "alice", 1)])
            await shows(url, lambda now: made(now, "applied") == 60)
        finally:
            await stop(other)
        found = await shows(url, lambda now: lag(now) == (0, 0))
        assert found.sum(f"{PREFIX}_open_transaction_seconds", topic=topics.transfers, lane="0") == 0
        assert found.sum(f"{PREFIX}_fenced_total") == 1
        assert found.sum(f"{PREFIX}_partition_releases_total", fate="fenced") == 1
        assert not [one for one in found.samples if "alice" in one.labels.values()]
    finally:
        process.stop()
