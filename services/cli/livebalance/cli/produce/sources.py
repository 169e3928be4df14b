"""Where transfers come from, a batch at a time: the next one is made when the last one is written."""

import asyncio
import contextlib
import os
import select
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from livebalance.cli.errors import UserError
from livebalance.cli.produce.csv_transfers import NEEDED, CsvParser, HeaderError, Row
from livebalance.generator.pace import UNLIMITED, Pace
from livebalance.generator.transfers import AccountPicker, pair
from livebalance.wire.timestamp import Millis

_CHUNK = 256 * 1024  # bytes, a few thousand lines
_PATIENCE = 0.2  # seconds; how soon it is seen that nothing more is wanted
_MOST = 1_000  # random transfers in one batch

Source = AsyncIterator[list[Row]]


async def csv_source(file: int, stopping: asyncio.Event) -> Source:
    """The lines of a file, a pipe or a terminal, by its descriptor. Raises UserError."""
    sheet = CsvParser()
    while not stopping.is_set():
        chunk = await asyncio.to_thread(_read, file)
        try:
            if chunk:
                yield sheet.take(chunk, _now())
            elif chunk is not None:
                yield sheet.end(_now())
                return
        except HeaderError as refused:
            raise UserError(f"nothing was written: {refused}") from refused


def _read(file: int) -> bytes | None:
    """What is there by now; b"": that was all; None: nothing yet. Raises UserError."""
    try:
        ready, _, _ = select.select([file], [], [], _PATIENCE)
        return os.read(file, _CHUNK) if ready else None
    except OSError as cause:
        raise UserError(f"--from cannot be read: {cause.strerror}") from cause


async def argument_source(lines: Iterable[str]) -> Source:
    """Lines of id, account and amount."""
    sheet = CsvParser(NEEDED, "transfer")
    yield sheet.take(b"".join(os.fsencode(line) + b"\n" for line in lines), _now())


@dataclass(frozen=True)
class RandomSource:
    """Random transfers, each as two records. `rate` is a second, 0: at once; `skew` as in `Crowd`."""

    accounts: int
    seed: int
    rate: float
    limit: int | None
    skew: float

    async def transfers(self, run: str, stopping: asyncio.Event) -> Source:
        """Until the limit, if there is one; ids begin with `run`."""
        crowd, pace = AccountPicker(self.accounts, self.skew), Pace(self.rate or UNLIMITED, time.monotonic())
        limit, made = UNLIMITED if self.limit is None else self.limit, 0
        while made < limit and not stopping.is_set():
            due = pace.take(time.monotonic(), int(min(_MOST, limit - made)))
            now = _now()
            numbers, made = range(made, made + due), made + due
            yield [record for n in numbers for record in pair(self.seed, n, crowd, run, now)]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), pace.wait(time.monotonic()))


def _now() -> Millis:
    return Millis(time.time_ns() // 1_000_000)
