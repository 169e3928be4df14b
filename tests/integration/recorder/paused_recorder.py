"""A recorder that pauses itself with SIGSTOP just before its first transaction.

With the argument `unfenced` its transactional ids are unique, so that no other owner fences it.
"""

import os
import signal
import sys
import uuid

from livebalance.recorder import partition, recorder
from livebalance.recorder.__main__ import serve
from livebalance.recorder.partition import NewBalance, Partition
from livebalance.recorder.settings import RecorderSettings
from livebalance.runtime.process.run import main
from livebalance.wire.identity import Lane, Offset


class PausingPartition(Partition):
    async def _commit(self, balances: list[NewBalance], next_offset: Offset) -> None:
        if balances and not os.environ.pop("PAUSED_BEFORE", None):
            os.environ["PAUSED_BEFORE"] = "1"
            os.kill(os.getpid(), signal.SIGSTOP)
        await super()._commit(balances, next_offset)


def unfenced_id(topic: str, partition: Lane) -> str:
    return f"recorder-{topic}-{partition}-{uuid.uuid4()}"


if __name__ == "__main__":
    if "unfenced" in sys.argv:
        partition.transactional_id = unfenced_id
    setattr(recorder, "Partition", PausingPartition)  # noqa: B010 - the class is replaced on purpose
    main(RecorderSettings, serve, has_own_arguments=True)
