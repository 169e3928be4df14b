"""A recorder that stops itself, as by SIGSTOP, when it is about to begin its first transaction.

With `unfenced` the rule is removed: its transactional ids are its own, so that no other owner fences it.
"""

import os
import signal
import sys
import uuid

from livebalance.recorder import partition, recorder
from livebalance.recorder.__main__ import serve
from livebalance.recorder.partition import Made, Partition
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.process.run import main
from livebalance.wire.identity import Lane, Offset


class Paused(Partition):
    async def _commit(self, balances: list[Made], behind: Offset) -> None:
        if balances and not os.environ.pop("AWAKE", None):
            os.environ["AWAKE"] = "from now on"
            os.kill(os.getpid(), signal.SIGSTOP)
        await super()._commit(balances, behind)


def unfenced_id(topic: str, lane: Lane) -> str:
    return f"recorder-{topic}-{lane}-{uuid.uuid4()}"


if __name__ == "__main__":
    if "unfenced" in sys.argv:
        partition.transactional_id = unfenced_id
    setattr(recorder, "Partition", Paused)  # noqa: B010 - planted
    main(RecorderSettings, serve)
