"""A recorder that stalls while transfers wait fails its probe, and ends."""

import asyncio

import httpx
import pytest

from livebalance.recorder.partition import Partition
from livebalance.runtime.kafka import stall_detector
from livebalance.runtime.kafka.stall_detector import StalledError
from livebalance.stack.paths import free_port
from livebalance.stack.servers.topics import Topics
from tests.integration.recorder.recorder_process import running_recorder, settings
from tests.integration.recorder.topic_records import read_balances, send_transfers, transfer, wait_until
from tests.servers.database import Database


async def hang(kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never_commit(partition: Partition, balances: object, next_offset: object) -> None:
        await asyncio.Event().wait()

    async def is_recorded() -> bool:
        return len(await read_balances(kafka, topics)) >= 2

    port = free_port()
    async with running_recorder(settings(kafka, topics, database).model_copy(update={"http_port": port})):
        await send_transfers(kafka, topics, [transfer("t-1", "a", 1)])
        await wait_until(is_recorded)
        monkeypatch.setattr(stall_detector, "_STALLED_SECONDS", 2.0)
        monkeypatch.setattr(stall_detector, "_EXIT_SECONDS", 5.0)
        monkeypatch.setattr(Partition, "_commit", never_commit)
        await send_transfers(kafka, topics, [transfer("t-2", "a", 1)])
        async with asyncio.timeout(30), httpx.AsyncClient(timeout=30) as http:
            while (response := await http.get(f"http://127.0.0.1:{port}/livez")).text == "ok\n":
                assert response.status_code == 200
                await asyncio.sleep(0.1)
        assert (response.status_code, response.text) == (503, "nothing processed although records wait\n")
        await asyncio.sleep(20)


async def test_recorder_whose_commit_never_ends_fails_its_probe_and_ends(
    kafka: str, topics: Topics, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall_detector, "_SUSPECT_SECONDS", 1.0)
    with pytest.raises(StalledError, match="nothing processed"):
        await hang(kafka, topics, database, monkeypatch)
