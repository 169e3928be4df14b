"""A recorder that stands still while transfers wait is noticed, and ends."""

import asyncio

import httpx
import pytest

from livebalance.recorder.partition import Partition
from livebalance.runtime.kafka import stall_detector
from livebalance.runtime.kafka.stall_detector import StalledError
from livebalance.stack.paths import free_port
from livebalance.stack.servers.topics import Topics
from tests.integration.recorder.process import recording, settings
from tests.integration.recorder.topics import balances, reached, send, transfer


async def hangs(kafka: str, topics: Topics, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(partition: Partition, made: object, behind: object) -> None:
        await asyncio.Event().wait()

    async def recorded() -> bool:
        return len(await balances(kafka, topics)) >= 2

    port = free_port()
    async with recording(settings(kafka, topics).model_copy(update={"http_port": port})):
        await send(kafka, topics, [transfer("t-1", "a", 1)])
        await reached(recorded)
        monkeypatch.setattr(stall_detector, "_STALLED", 2.0)
        monkeypatch.setattr(stall_detector, "_GIVE_UP", 5.0)
        monkeypatch.setattr(Partition, "_commit", never)
        await send(kafka, topics, [transfer("t-2", "a", 1)])
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            while (told := await http.get(f"http://127.0.0.1:{port}/livez")).text == "ok\n":
                assert told.status_code == 200
                await asyncio.sleep(0.1)
        assert (told.status_code, told.text) == (503, "nothing done although there is more\n")
        await asyncio.sleep(20)


async def test_a_commit_that_never_ends_ends_the_process(
    kafka: str, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall_detector, "_SUSPECT", 1.0)
    with pytest.raises(StalledError, match="nothing done"):
        await hangs(kafka, topics, monkeypatch)
