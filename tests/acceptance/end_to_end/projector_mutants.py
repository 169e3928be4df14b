"""A projector with something done to it, for the proof to notice: `python -m … WHAT…`.

pause: it stops (SIGSTOP) in the middle of a batch, before it writes, and goes on when it is told to.
no-fence: it writes whatever it has, whoever owns the lane by then.
publish-first: it rings the doorbell before the commit.
"""

import os
import signal
import sys
from typing import Any

from livebalance.projector.__main__ import serve
from livebalance.projector.postgres.store import Store
from livebalance.projector.redis.messages import Message, MessageEncoder
from livebalance.projector.redis.publisher import Publisher
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel import projector_writes
from livebalance.readmodel.rows import BatchRows
from livebalance.runtime.process.run import main

PAUSE_AT = 5  # batches


def pause() -> None:
    """At the fifth batch of balances alone: nothing in it but rows that a later owner will have overtaken."""
    write, left = Store.write, [PAUSE_AT]

    async def paused(self: Store, batch: BatchRows) -> None:
        if batch.balances and not batch.transfers:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGSTOP)
        await write(self, batch)

    Store.write = paused  # type: ignore[method-assign]


def no_fence() -> None:
    """Neither the lane's generation and offsets nor the accounts' revisions are asked for."""
    move, bare = projector_writes._MOVE, projector_writes._MOVE.partition(" and l.generation")[0]
    assert move in projector_writes._WRITE
    assert " and b.revision = x.was" in projector_writes._WRITE
    projector_writes._MOVE = bare
    projector_writes._WRITE = projector_writes._WRITE.replace(move, bare).replace(
        " and b.revision = x.was", ""
    )


def publish_first() -> None:
    write, deltas, start = Store.write, MessageEncoder.deltas, Publisher.start
    bells: list[Publisher] = []
    news: list[Message] = []

    def started(self: Publisher) -> None:
        bells.append(self)
        start(self)

    def noted(self: MessageEncoder, *what: Any) -> list[Message]:
        news[:] = deltas(self, *what)
        return news.copy()

    async def rung(self: Store, batch: BatchRows) -> None:
        await bells[0].publish(news)
        await write(self, batch)

    Publisher.start, Store.write = started, rung  # type: ignore[method-assign]
    MessageEncoder.deltas = noted  # type: ignore[method-assign,assignment]


PLANTS = {"pause": pause, "no-fence": no_fence, "publish-first": publish_first}

if __name__ == "__main__":
    for what in sys.argv[1:]:
        PLANTS[what]()
    main(ProjectorSettings, serve)
