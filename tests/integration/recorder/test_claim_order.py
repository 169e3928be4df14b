"""The order of a claim's steps, and of a batch's: what another owner or a crash in between would break."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from livebalance.readmodel.rows import SourceIdentity
from livebalance.recorder import partition, saved_ledger
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.kafka.client import start_client
from livebalance.runtime.process import failpoints
from livebalance.stack.servers.topics import Topics
from tests.conftest import MakeTopics
from tests.integration.recorder.claimed_partition import CLAIMED, claiming
from tests.integration.recorder.halted_partitions import delete_records, recreate
from tests.integration.recorder.recorder_process import settings
from tests.integration.recorder.topic_records import read_balances, send_transfers, transfer
from tests.servers.database import Database


class CrashError(Exception):
    """Ends a batch at a failpoint."""


@pytest.fixture
async def topics(make_topics: MakeTopics) -> Topics:
    return await make_topics(partitions=1)


@pytest.fixture
def recorder_settings(kafka: str, topics: Topics, database: Database) -> RecorderSettings:
    return settings(kafka, topics, database)


async def recorded_ids(kafka: str, topics: Topics) -> list[str]:
    return [written.balance.transfer_id for written in await read_balances(kafka, topics)]


async def test_claim_reads_offsets_after_the_previous_owner_is_fenced(
    kafka: str,
    topics: Topics,
    recorder_settings: RecorderSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The previous owner records a transfer while the next owner claims, just before it is fenced."""
    async with (
        claiming(recorder_settings, tmp_path) as previous,
        claiming(recorder_settings, tmp_path) as owner,
    ):
        await send_transfers(kafka, topics, [transfer("t-0", "a", 1)])
        assert await previous.claim() == CLAIMED
        assert await previous.record_next() == 1

        async def start_after_a_batch(producer: AIOKafkaProducer) -> None:
            if producer is owner.partition._producer:
                await send_transfers(kafka, topics, [transfer("t-1", "a", 1)])
                assert await previous.record_next() == 1
            await start_client(producer)

        monkeypatch.setattr(partition, "start_client", start_after_a_batch)
        assert await owner.claim() == CLAIMED
        assert owner.partition.next_offset == 2
        await send_transfers(kafka, topics, [transfer("t-2", "a", 1)])
        assert await owner.record_next() == 1
    assert await recorded_ids(kafka, topics) == ["", "t-0", "t-1", "t-2"]


async def more_partitions(kafka: str, topics: Topics) -> str:
    return "the topics have 3 partitions, the recorder began with 1"


async def other_topic(kafka: str, topics: Topics) -> str:
    """The new topic has more records than were read of the former."""
    await recreate(kafka, topics.transfers, topics.partitions)
    await send_transfers(kafka, topics, [transfer(f"new-{n}", "a", 1) for n in range(3)])
    return f"{topics.transfers} has another topic id now: the topic was recreated"


async def lost_history(kafka: str, topics: Topics) -> str:
    await send_transfers(kafka, topics, [transfer(f"t-{n}", "a", 1) for n in range(1, 4)])
    await delete_records(kafka, topics.transfers, 0, before=3)
    return f"{topics.transfers} begins at 3 but 1 comes next: history was lost"


@pytest.mark.parametrize("change", [more_partitions, other_topic, lost_history])
async def test_claim_of_changed_topics_halts_before_anything_is_restored(
    kafka: str,
    topics: Topics,
    recorder_settings: RecorderSettings,
    tmp_path: Path,
    change: Callable[[str, Topics], Awaitable[str]],
) -> None:
    await send_transfers(kafka, topics, [transfer("t-0", "a", 1)])
    async with claiming(recorder_settings, tmp_path) as previous:
        assert await previous.claim() == CLAIMED
        assert await previous.record_next() == 1
    reason = await change(kafka, topics)

    def identity_now(identity: SourceIdentity) -> SourceIdentity:
        return identity._replace(partitions=3) if change is more_partitions else identity

    async with claiming(recorder_settings, tmp_path) as owner:
        assert await owner.claim(identity_now) == reason
        assert owner.partition._restore is None


async def test_accounts_of_a_batch_that_was_not_committed_are_not_saved(
    kafka: str,
    topics: Topics,
    recorder_settings: RecorderSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the balance in its file, the next claim would take the transfer for recorded."""
    monkeypatch.setattr(saved_ledger, "_SAVE_SECONDS", 0.0)
    async with claiming(recorder_settings, tmp_path) as previous:
        await send_transfers(kafka, topics, [transfer("t-0", "a", 1)])
        assert await previous.claim() == CLAIMED
        assert await previous.record_next() == 1
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)])
        with monkeypatch.context() as patch:
            patch.setattr(failpoints, "at", crash_before_commit)
            with pytest.raises(CrashError):
                await previous.record_next()
    async with claiming(recorder_settings, tmp_path) as owner:
        assert await owner.claim() == CLAIMED
        await owner.record_next()
    assert await recorded_ids(kafka, topics) == ["", "t-0", "t-1"]


def crash_before_commit(point: str) -> None:
    if point == "recorder_before_commit":
        raise CrashError
