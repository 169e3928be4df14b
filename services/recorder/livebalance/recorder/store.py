"""The recorder's connection to Postgres, which keeps its halted partitions and rejected transfers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import asyncpg

from livebalance.readmodel import recorder_writes
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.rows import QuarantineRow, RecorderLane, SourceIdentity
from livebalance.wire.identity import Lane, Offset

_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 15.0


class Store:
    """One connection, used by one caller at a time. Every method may raise errors of asyncpg.

    Every statement commits by itself and may be repeated (decision 18).
    """

    def __init__(self, url: str, name: str) -> None:
        self._url, self._name = url, name
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(
                    self._url,
                    timeout=_CONNECT_SECONDS,
                    command_timeout=_COMMAND_SECONDS,
                    server_settings={"application_name": self._name},
                )
            try:
                yield self._connection
            except BaseException:  # the connection may be in any state
                self._connection.terminate()
                self._connection = None
                raise

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.terminate()

    async def read_lane(self, lane: Lane, identity: SourceIdentity) -> RecorderLane:
        """Returns the row of a partition. `identity`: of the topics, if the partition was never claimed."""
        async with self._connected() as connection:
            return await recorder_writes.read_lane(connection, lane, identity)

    async def accept_lane(self, lane: Lane, identity: SourceIdentity, other_sources: bool) -> None:
        """Stores what the claim of a continued partition has accepted."""
        async with self._connected() as connection:
            await recorder_writes.accept_lane(connection, lane, identity, other_sources)

    async def halt_lane(self, lane: Lane, why: str, next_offset: Offset | None) -> None:
        """Halts a partition, unless it is halted already."""
        async with self._connected() as connection:
            await recorder_writes.halt_lane(connection, lane, why, next_offset)

    async def continued_lanes(self, halted: list[Lane]) -> list[Lane]:
        """Returns those of the halted partitions that an operator has let continue."""
        async with self._connected() as connection:
            return await recorder_writes.continued_lanes(connection, halted)

    async def rejected_offsets(self, topic: str, lane: Lane, first: Offset) -> set[Offset]:
        """Returns the offsets from `first` on of transfers that a recorder has rejected."""
        async with self._connected() as connection:
            return await recorder_writes.rejected_offsets(connection, topic, lane, first)

    async def quarantine(self, rows: Sequence[QuarantineRow]) -> None:
        """Keeps rejected transfers. A transfer that is there already stays as it is."""
        if rows:
            async with self._connected() as connection:
                await recorder_writes.insert_rejected(connection, rows)
