"""Which reads of sets run: those that somebody waits for."""

import asyncio
from typing import Any

import pytest

from livebalance.gateway.live.sets.set_channel import SetRead
from livebalance.gateway.live.sets.stream import BatchStream
from livebalance.gateway.postgres import set_loader
from livebalance.gateway.postgres.set_loader import SetLoader
from livebalance.readmodel.sets.reads import SetState
from livebalance.wire.identity import Lane, SetName
from tests.unit.gateway.harness import EPOCH


async def test_reads_of_sets_that_were_left_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may subscribe and unsubscribe a set as often as its limits let it. Others wait behind it."""
    read: list[SetName] = []

    async def read_set(pool: Any, name: SetName, max_accounts: int) -> SetState:
        read.append(name)
        return SetState(EPOCH, {Lane(0): 1}, {}, None)

    monkeypatch.setattr(set_loader, "read_set", read_set)
    left = [SetRead(SetName("prefix", "left"), BatchStream()) for _ in range(100)]
    wanted, answered = SetRead(SetName("prefix", "wanted"), BatchStream()), asyncio.Event()
    no_pool: Any = None
    loader = SetLoader(
        no_pool,
        lambda answer, _: answered.set() if answer is wanted else None,
        lambda _: None,
        is_current=lambda asked: asked is wanted,
        max_accounts=10,
        timeout_seconds=5.0,
    )
    loader.request([*left, wanted])
    running = asyncio.create_task(loader.run())
    async with asyncio.timeout(10):
        await answered.wait()
    running.cancel()
    await asyncio.wait([running])
    assert read == [SetName("prefix", "wanted")]
