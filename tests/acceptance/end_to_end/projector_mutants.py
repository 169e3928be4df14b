"""Runs a projector that violates a rule on purpose: `python -m … MUTANT…`. The check must detect it.

pause: breaks no rule; the process stops with SIGSTOP inside a batch, before it writes, until SIGCONT.
no-fence: breaks docs/guarantees.md#fence; a batch is written although another process owns the lane.
publish-first: breaks docs/guarantees.md#publishing; deltas are published before the commit.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from livebalance.projector.__main__ import serve
from livebalance.projector.postgres.store import Store
from livebalance.projector.redis.messages import KeptTotals, Message, MessageEncoder
from livebalance.projector.redis.publisher import Publisher
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.projection import batch_writes, lane_writes
from livebalance.readmodel.rows import BatchRows
from livebalance.runtime.process.run import main

PAUSE_AT = 5  # batches


def pause() -> None:
    """Pauses at the fifth batch without transfers.

    When the projector resumes, a later owner of the lane has already updated all rows of that batch.
    """
    write, remaining = Store.write, [PAUSE_AT]

    async def pausing_write(self: Store, batch: BatchRows) -> KeptTotals:
        if batch.balances and not batch.transfers:
            remaining[0] -= 1
            if remaining[0] == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
        return await write(self, batch)

    Store.write = pausing_write  # type: ignore[method-assign]


def no_fence() -> None:
    """Breaks the fence: a batch is written without comparing generation, offsets and revisions."""
    move, bare = lane_writes.MOVE, lane_writes.MOVE.partition(" and l.generation")[0]
    assert move in batch_writes._WRITE
    assert " and b.revision = x.was" in batch_writes._WRITE
    lane_writes.MOVE = bare
    batch_writes._WRITE = batch_writes._WRITE.replace(move, bare).replace(" and b.revision = x.was", "")


def publish_first() -> None:
    """Breaks the order of commit and publish: the deltas of a batch are published before its commit."""
    write, encode_deltas, start = Store._write, MessageEncoder.deltas, Publisher.start
    publish, turn = Publisher.publish, asyncio.Lock()
    publishers: list[Publisher] = []
    messages: list[Message] = []

    def noting_start(self: Publisher) -> None:
        publishers.append(self)
        start(self)

    def noting_deltas(self: MessageEncoder, *arguments: Any) -> Iterator[Message]:
        messages[:] = encode_deltas(self, *arguments)
        return iter(messages.copy())

    async def publish_in_turn(self: Publisher, messages: Sequence[Message]) -> None:
        """Waits for the publish of the last batch, which is beside this batch."""
        async with turn:
            await publish(self, messages)

    async def publishing_write(self: Store, batch: BatchRows) -> KeptTotals:
        """Called after BEGIN was answered. The messages are encoded meanwhile."""
        await publishers[0].publish(messages)
        return await write(self, batch)

    Publisher.start, Store._write = noting_start, publishing_write  # type: ignore[method-assign]
    MessageEncoder.deltas = noting_deltas  # type: ignore[method-assign,assignment]
    Publisher.publish = publish_in_turn  # type: ignore[method-assign]


MUTANTS = {"pause": pause, "no-fence": no_fence, "publish-first": publish_first}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        MUTANTS[name]()
    main(ProjectorSettings, serve, has_own_arguments=True)
