"""Sources of transfers. Each yields batches; a batch is made when the previous batch has been written."""

import asyncio
import contextlib
import os
import select
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from livebalance.cli.errors import UserError
from livebalance.cli.produce.csv_transfers import REQUIRED_COLUMNS, CsvParser, HeaderError, ParsedLine
from livebalance.generator.pace import UNLIMITED, Pace
from livebalance.generator.transfers import AccountPicker, transfer_pair
from livebalance.wire.timestamp import Millis

_CHUNK_BYTES = 256 * 1024  # a few thousand lines
_POLL_SECONDS = 0.2  # delay until a waiting read sees that it should end
_MAX_BATCH = 1_000  # random transfers

Source = AsyncIterator[list[ParsedLine]]


async def csv_source(file: int, stopping: asyncio.Event) -> Source:
    """Yields the lines of a file, a pipe or a terminal, given by its descriptor.

    Raises:
        UserError: the file cannot be read, or its header is wrong.
    """
    parser = CsvParser()
    while not stopping.is_set():
        chunk = await asyncio.to_thread(_read, file)
        try:
            if chunk:
                yield parser.feed(chunk, _now())
            elif chunk is not None:
                yield parser.close(_now())
                return
        except HeaderError as error:
            raise UserError(f"nothing was written: {error}") from error


def _read(file: int) -> bytes | None:
    """Returns the next bytes; b"" at the end of the file; None if there are none within the poll interval."""
    try:
        ready, _, _ = select.select([file], [], [], _POLL_SECONDS)
        return os.read(file, _CHUNK_BYTES) if ready else None
    except OSError as cause:
        raise UserError(f"--from cannot be read: {cause.strerror}") from cause


async def argument_source(lines: Iterable[str]) -> Source:
    """Yields the transfers in the arguments; each line has id, account and amount."""
    parser = CsvParser(REQUIRED_COLUMNS, "transfer")
    yield parser.feed(b"".join(os.fsencode(line) + b"\n" for line in lines), _now())


@dataclass(frozen=True)
class RandomSource:
    """Random transfers, two records each.

    `rate` is transfers per second; 0: no limit. `skew` is the exponent of the Zipf distribution of accounts.
    """

    accounts: int
    seed: int
    rate: float
    limit: int | None
    skew: float

    async def transfers(self, run: str, stopping: asyncio.Event) -> Source:
        """Yields batches up to the limit; transfer ids begin with `run`."""
        picker, pace = AccountPicker(self.accounts, self.skew), Pace(self.rate or UNLIMITED, time.monotonic())
        limit, made = UNLIMITED if self.limit is None else self.limit, 0
        while made < limit and not stopping.is_set():
            due = pace.consume(time.monotonic(), int(min(_MAX_BATCH, limit - made)))
            now = _now()
            numbers, made = range(made, made + due), made + due
            yield [record for n in numbers for record in transfer_pair(self.seed, n, picker, run, now)]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pace.seconds_until_due(time.monotonic()))


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
