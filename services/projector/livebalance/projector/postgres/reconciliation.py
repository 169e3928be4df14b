"""Compares Kafka with SQL in the background, in turns (docs/guarantees.md#reconciliation)."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import TopicPartition

from livebalance.projector.errors import FencedError
from livebalance.projector.fold.comparison import Kind, TopicRecord, classify, count_hours
from livebalance.projector.fold.lane import OwnedLane
from livebalance.projector.kafka.span_reader import SpanReader
from livebalance.projector.postgres.turns import Turns
from livebalance.projector.settings import ProjectorSettings
from livebalance.readmodel.connection import Connection
from livebalance.readmodel.lane_totals import LaneOwner
from livebalance.readmodel.reconciliation import differences, results
from livebalance.readmodel.reconciliation.differences import SPAN_OFFSETS, Span
from livebalance.readmodel.rows import Finding
from livebalance.runtime import logs
from livebalance.runtime.schema.values import Values
from livebalance.wire.identity import Lane, Offset
from livebalance.wire.kafka.raw_record import RawRecord, Rejected, decode_transfer
from livebalance.wire.timestamp import limited_millis

_TURN_SECONDS = 10.0  # between the starts of two turns
_TIMEOUT_SECONDS = 300.0  # of a turn, beyond the time of its last span
_NEWEST_SHARE = 0.8  # of a turn's records; the rest is for history
_DECODED_AT_ONCE = 200  # batches wait for no more than these
_LOGGED = 10  # differences of a span

_log = logs.get("reconciliation")


class Reconciliation(Turns):
    """Compares the newest transfers of each lane, then its history, at `reconciliation_rate`."""

    def __init__(self, settings: ProjectorSettings, values: Values) -> None:
        longest_span = SPAN_OFFSETS / settings.reconciliation_rate if settings.reconciliation_rate else 0.0
        super().__init__(settings, "reconciliation", _TIMEOUT_SECONDS + longest_span, jit="off")
        self._values = values
        self._next_turn = 0.0
        self._applied: dict[Lane, Offset] = {}  # when the last turn began

    async def start(self, lanes: Sequence[OwnedLane]) -> None:
        """Starts a turn if it is time and the last turn is over. Called every second, unless the rate is 0.

        Raises:
            Exception: The bug that ended the last turn.
        """
        now = time.monotonic()
        if await self.is_over() and lanes and now >= self._next_turn:
            self._next_turn = now + _TURN_SECONDS
            ends, self._applied = self._applied, {lane.lane: lane.transfers.next for lane in lanes}
            owners = [LaneOwner(lane.lane, lane.generation) for lane in lanes]
            self.begin(lambda connection: self._compare(connection, owners, ends))

    async def _compare(
        self, connection: Connection, owners: Sequence[LaneOwner], ends: dict[Lane, Offset]
    ) -> None:
        async with SpanReader(self._settings.broker, self._settings.name) as reader:
            await _Turn(self._settings, self._values, connection, reader).run(owners, ends)


class _Turn:
    """A turn: the transfers that were applied before the last turn began, then a part of the history."""

    def __init__(
        self, settings: ProjectorSettings, values: Values, connection: Connection, reader: SpanReader
    ) -> None:
        self._settings, self._values = settings, values
        self._connection, self._reader = connection, reader
        self._left = int(settings.reconciliation_rate * _TURN_SECONDS)  # offsets

    async def run(self, owners: Sequence[LaneOwner], ends: dict[Lane, Offset]) -> None:
        """Compares at most `reconciliation_rate` offsets per second.

        `ends` has, for each lane, the offset of its next transfer some seconds ago: the balances after them
        should have arrived.
        """
        allowance = int(self._left * _NEWEST_SHARE / len(owners))
        for owner in owners:
            if owner.lane in ends:
                await self._compare_newest(owner, ends[owner.lane], allowance)
            await results.summarize(self._connection, owner, newest_compared=owner.lane in ends)
        unfinished = list(owners)
        while unfinished and self._left > 0:
            unfinished = [owner for owner in unfinished if await self._compare_history(owner)]
        for owner in owners:
            await results.summarize(self._connection, owner)

    async def _compare_newest(self, owner: LaneOwner, end: Offset, allowance: int) -> None:
        """Compares on, up to `end`. What exceeds the allowance is left to the next round."""
        progress = await results.compared_offsets(self._connection, owner.lane)
        first = await self._reader.first_offset(self._partition(owner.lane))
        start = max(progress.compared_next, first, Offset(end - allowance))
        while start < end:
            span = Span(owner.lane, start, Offset(min(end, start - start % SPAN_OFFSETS + SPAN_OFFSETS)))
            await self._compare(owner, span, is_newest=True)
            start = span.end

    async def _compare_history(self, owner: LaneOwner) -> bool:
        """Compares the next span of a round, which goes down from the newest transfers to the first.

        Returns False at the end of a round, after which the next begins.
        """
        progress = await results.compared_offsets(self._connection, owner.lane)
        first = max(progress.start, await self._reader.first_offset(self._partition(owner.lane)))
        top = min(progress.history_next, progress.compared_next)
        if top <= first:
            await results.begin_round(self._connection, owner.lane)
            return False
        floor = (top - 1) // SPAN_OFFSETS * SPAN_OFFSETS
        end = min(progress.compared_next, floor + SPAN_OFFSETS)
        await self._compare(owner, Span(owner.lane, Offset(max(first, floor)), Offset(end)), is_newest=False)
        return True

    async def _compare(self, owner: LaneOwner, span: Span, *, is_newest: bool) -> None:
        """Compares a span and stores the result, in one snapshot of Postgres."""
        records = await self._read(span)
        async with self._connection.transaction(isolation="repeatable_read"):
            if not await differences.is_applied(self._connection, owner, span.end):
                raise FencedError("a lane has another owner, or was set back")
            hours = count_hours(records, await self._find(span, records))
            store = results.add_newest if is_newest else results.replace_range
            await store(self._connection, span, hours)
            accounts = {record.transfer.account for record in records if record.transfer is not None}
            await results.note_late_accounts(self._connection, span.lane, list(accounts))
        self._left -= span.end - span.start

    async def _find(self, span: Span, records: Sequence[TopicRecord]) -> list[tuple[Finding, Kind]]:
        topic = self._settings.transfers_topic
        transfers = [(record.offset, record.transfer) for record in records]
        found = await differences.find_differences(self._connection, topic, span, transfers)
        findings = [(finding, classify(finding)) for finding in found]
        for finding, kind in [pair for pair in findings if pair[1].is_difference][:_LOGGED]:
            _log.error(
                "difference found",
                kind=kind.value,
                lane=span.lane,
                offset=finding.offset,
                row_offset=None if finding.row is None else finding.row.offset,
            )
        return findings

    async def _read(self, span: Span) -> list[TopicRecord]:
        """Reads a span and takes as long for it as the rate allows."""
        raw = await self._reader.read(self._partition(span.lane), span.start, span.end)
        await self._values.fetch_schemas(record.value for record in raw)
        records: list[TopicRecord] = []
        for first in range(0, len(raw), _DECODED_AT_ONCE):
            records += map(self._decode, raw[first : first + _DECODED_AT_ONCE])
            await asyncio.sleep(_DECODED_AT_ONCE / self._settings.reconciliation_rate)
        return records

    def _decode(self, raw: RawRecord) -> TopicRecord:
        # Without the setting of the largest scale: it may have been another when the record was applied.
        content = Rejected("damaged") if raw.unreadable else decode_transfer(raw, self._values.codec)
        transfer = None if isinstance(content, Rejected) else content
        return TopicRecord(Offset(raw.offset), limited_millis(raw.timestamp), transfer)

    def _partition(self, lane: Lane) -> TopicPartition:
        return TopicPartition(self._settings.transfers_topic, lane)
