"""Fetches and decodes records, in a backlog while Postgres writes the batch before (decision 39)."""

import asyncio
from collections.abc import Generator, Mapping
from typing import NamedTuple, TypeVar

from livebalance.projector.fold.lane import DecodedRecords, FetchStatus, OwnedLane, decode
from livebalance.projector.kafka.consumer import LaneConsumer, Records
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane

T = TypeVar("T")


class FetchedLane(NamedTuple):
    """What a fetch has returned of a lane."""

    lane: Lane
    records: tuple[Records, Records]  # transfers, balances
    statuses: tuple[FetchStatus, FetchStatus]  # right after the fetch
    decoded: DecodedRecords | None  # None: a schema is not known yet


async def in_pieces(work: Generator[None, None, T]) -> T:
    """Returns the result of a generator, and lets other tasks run whenever it pauses."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        await asyncio.sleep(0)


class ReadAhead:
    """Reads at most one batch ahead. Its owner drops this batch if the batch before was not committed."""

    def __init__(self, consumer: LaneConsumer, values: Values, max_scale: int) -> None:
        self._consumer, self._values, self._max_scale = consumer, values, max_scale
        self._task: asyncio.Task[list[FetchedLane]] | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether records may have been fetched that `read` has not returned yet."""
        return self._task is not None

    def start(self, lanes: Mapping[Lane, OwnedLane]) -> None:
        """Starts to read the next batch, if its records have arrived.

        Otherwise the batch would lack the records that arrive during the write.
        """
        if self._task is None and self._consumer.has_backlog:
            self._task = asyncio.create_task(self._read(lanes))

    async def read(self, lanes: Mapping[Lane, OwnedLane]) -> list[FetchedLane]:
        """Returns the batch that was read ahead, or else reads a batch now. May raise what a fetch raises."""
        if self._task is None:
            return await self._read(lanes)
        try:
            return await self._task
        finally:
            self._task = None

    async def aclose(self) -> None:
        """Drops the batch that was read ahead. Until the next seek, a fetch would not return it again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _read(self, lanes: Mapping[Lane, OwnedLane]) -> list[FetchedLane]:
        fetched = await self._consumer.fetch(lanes)
        statuses = {id_: await self._consumer.fetch_statuses(id_) for id_ in fetched}
        read = list[FetchedLane]()
        for id_, records in fetched.items():
            decoded = await self._decode(lanes[id_], records)
            read.append(FetchedLane(id_, records, statuses[id_], decoded))
        return read

    async def _decode(self, lane: OwnedLane, records: tuple[Records, Records]) -> DecodedRecords | None:
        if not self._values.knows_schemas(record.value for side in records for record in side):
            return None
        return await in_pieces(decode(lane, records, self._values.codec, max_scale=self._max_scale))
