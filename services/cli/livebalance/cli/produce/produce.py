"""Writes transfers to Kafka in batches, and counts written and skipped lines."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from livebalance.cli.errors import UserError
from livebalance.cli.produce.csv_transfers import SkippedLine
from livebalance.cli.produce.producer import TIMEOUT_SECONDS, TransferProducer, connect
from livebalance.cli.produce.sources import Source
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.errors import StartupError
from livebalance.wire.kafka.record import Transfer

_GRACE_SECONDS = 3.0  # for the batch that is being sent when a signal arrives
_MAX_LISTED_LINES = 5  # skipped lines in the summary; each skipped line was reported before

MakeSource = Callable[[asyncio.Event], Source]  # the event is set when the source should end


@dataclass
class ProduceReport:
    """Numbers of records, and the first skipped lines.

    `unacknowledged` records were sent without an answer from Kafka: they may or may not be in the topic.
    """

    written: int = 0
    unacknowledged: int = 0
    skipped: int = 0
    skipped_lines: list[SkippedLine] = field(default_factory=list)
    stopped: bool = False

    def skip(self, line: SkippedLine) -> None:
        """Counts a skipped line."""
        self.skipped += 1
        if len(self.skipped_lines) < _MAX_LISTED_LINES:
            self.skipped_lines.append(line)

    def as_object(self) -> dict[str, Any]:
        """Returns the report for --json."""
        return {**asdict(self), "skipped_lines": [line._asdict() for line in self.skipped_lines]}

    def __str__(self) -> str:
        """Returns the report on a single line."""
        text = f"{'stopped: ' if self.stopped else ''}{self.written} written"
        if self.unacknowledged:
            text += f", up to {self.unacknowledged} more unacknowledged"
        if self.skipped:
            lines = "; ".join(f"{line.where}: {line.reason}" for line in self.skipped_lines)
            more = self.skipped - len(self.skipped_lines)
            text += f", {self.skipped} skipped: {lines}{f'; and {more} more' if more else ''}"
        return text


OnBatch = Callable[[ProduceReport, Sequence[SkippedLine]], None]  # after each batch, with its skipped lines


async def produce_transfers(
    settings: ServiceSettings, make_source: MakeSource, on_batch: OnBatch, transactional_id: str | None = None
) -> ProduceReport:
    """Writes transfers until the source ends, or until SIGINT or SIGTERM.

    After a signal, the batch that is being sent gets 3 more seconds.

    Raises:
        UserError: Kafka failed, or a topic is missing.
    """
    report, stopping = ProduceReport(), asyncio.Event()
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task

    def stop() -> None:
        report.stopped = True
        stopping.set()
        loop.call_later(_GRACE_SECONDS, task.cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        async with connect(settings, transactional_id) as producer:
            await _write(make_source(stopping), producer, report, on_batch)
    except asyncio.CancelledError:
        if not report.stopped:
            raise
    except StartupError as cause:
        raise UserError(f"{cause}; {report}") from cause
    except (KafkaError, OSError) as cause:
        raise UserError(f"Kafka at {settings.kafka}: {_describe(cause, settings)}; {report}") from cause
    return report


async def _write(
    source: Source, producer: TransferProducer, report: ProduceReport, on_batch: OnBatch
) -> None:
    async for lines in source:
        skipped = [line for line in lines if isinstance(line, SkippedLine)]
        for line in skipped:
            report.skip(line)
        await _send([line for line in lines if isinstance(line, Transfer)], producer, report)
        on_batch(report, skipped)


async def _send(transfers: list[Transfer], producer: TransferProducer, report: ProduceReport) -> None:
    if transfers:
        report.unacknowledged = len(transfers)
        await producer.write(transfers)
        report.written, report.unacknowledged = report.written + len(transfers), 0


def _describe(cause: Exception, settings: ServiceSettings) -> str:
    if isinstance(cause, UnknownTopicOrPartitionError):
        return f"there is no topic {settings.transfers_topic}"
    if isinstance(cause, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:.0f} s"
    return " ".join(str(cause).split()) or type(cause).__name__
