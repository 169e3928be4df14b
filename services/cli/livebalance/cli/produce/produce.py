"""Writes transfers to Kafka, batch after batch, and counts what became of them."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from livebalance.cli.errors import UserError
from livebalance.cli.produce.csv_transfers import SkippedLine
from livebalance.cli.produce.producer import DEADLINE, TransferProducer, connected
from livebalance.cli.produce.sources import Source
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import StartupError
from livebalance.wire.kafka.record import Transfer

_GRACE = 3.0  # seconds that Kafka may still take once it was told to stop
_NAMED = 5  # lines that the last word names; the others were named as they came

Begin = Callable[[asyncio.Event], Source]  # the event: nothing more is wanted


@dataclass
class ProduceReport:
    """Records acknowledged, those that were sent and whose fate nobody knows, and lines left out."""

    written: int = 0
    doubtful: int = 0
    skipped: int = 0
    first: list[SkippedLine] = field(default_factory=list)
    stopped: bool = False

    def skip(self, line: SkippedLine) -> None:
        self.skipped += 1
        if len(self.first) < _NAMED:
            self.first.append(line)

    def as_object(self) -> dict[str, Any]:
        return {**asdict(self), "first": [skip._asdict() for skip in self.first]}

    def __str__(self) -> str:
        """In words, one line."""
        text = f"{'stopped: ' if self.stopped else ''}{self.written} written"
        if self.doubtful:
            text += f", and up to {self.doubtful} more may be"
        if self.skipped:
            named = "; ".join(f"{skip.where}: {skip.reason}" for skip in self.first)
            more = self.skipped - len(self.first)
            text += f", {self.skipped} skipped: {named}{f'; and {more} more' if more else ''}"
        return text


Told = Callable[[ProduceReport, Sequence[SkippedLine]], None]  # after each batch, with what it left out


async def produce(
    settings: ServiceSettings, begin: Begin, told: Told, transactional_id: str | None = None
) -> ProduceReport:
    """Until the source ends, or SIGINT or SIGTERM: then what is on its way has 3 s more. Raises UserError."""
    report, stopping = ProduceReport(), asyncio.Event()
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task

    def stop() -> None:
        report.stopped = True
        stopping.set()
        loop.call_later(_GRACE, task.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with connected(settings, transactional_id) as topic:
            await _write(begin(stopping), topic, report, told)
    except asyncio.CancelledError:
        if not report.stopped:
            raise
    except StartupError as cause:
        raise UserError(f"{cause}; {report}") from cause
    except (KafkaError, OSError) as cause:
        raise UserError(f"Kafka at {settings.kafka}: {_said(cause, settings)}; {report}") from cause
    return report


async def _write(source: Source, topic: TransferProducer, report: ProduceReport, told: Told) -> None:
    async for rows in source:
        skips = [row for row in rows if isinstance(row, SkippedLine)]
        for skip in skips:
            report.skip(skip)
        await _send([row for row in rows if isinstance(row, Transfer)], topic, report)
        told(report, skips)


async def _send(transfers: list[Transfer], topic: TransferProducer, report: ProduceReport) -> None:
    if transfers:
        report.doubtful = len(transfers)
        await topic.write(transfers)
        report.written, report.doubtful = report.written + len(transfers), 0


def _said(cause: Exception, settings: ServiceSettings) -> str:
    if isinstance(cause, UnknownTopicOrPartitionError):
        return f"there is no topic {settings.transfers_topic}"
    if isinstance(cause, TimeoutError):
        return f"no answer within {DEADLINE:.0f} s"
    return " ".join(str(cause).split()) or type(cause).__name__
