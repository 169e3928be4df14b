"""Classifies what a comparison of the topic of transfers with SQL meets, and counts it by hour.

See docs/guarantees.md#reconciliation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from livebalance.readmodel.rows import Finding, HourRow
from livebalance.wire.identity import INITIAL_REVISION, Offset
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import ZERO, Money
from livebalance.wire.timestamp import Millis

_HOUR_MS = 3_600_000


class Kind(Enum):
    """What a record of the topic, or a row without a record, is; the value names its column."""

    MATCHED = "matched"
    QUARANTINED = "quarantined"
    DUPLICATE = "duplicates"
    ERASED = "erased"
    MISSING = "missing"
    DIFFERENT = "different"
    EXTRA = "extra"
    RESTORED = "restored"

    @property
    def is_difference(self) -> bool:
        """Whether Kafka and SQL differ."""
        return self in _DIFFERENCES


_DIFFERENCES = {Kind.MISSING, Kind.DIFFERENT, Kind.EXTRA, Kind.RESTORED}


class TopicRecord(NamedTuple):
    """A record of the topic of transfers. A record that is not admissible has no transfer."""

    offset: Offset
    at: Millis  # Kafka's time
    transfer: Transfer | None


def classify(finding: Finding) -> Kind:
    """Returns what a finding is. A finding without a record is a row that the topic does not hold."""
    if finding.offset is None:
        return Kind.ERASED if _is_row_erased(finding) else Kind.EXTRA
    if finding.row is not None and finding.row.offset == finding.offset:
        return _classify_row(finding)
    return _classify_unlisted(finding, finding.offset)


def _classify_row(finding: Finding) -> Kind:
    """Returns what a record is that has a row at its offset."""
    assert finding.row is not None
    if _is_row_erased(finding):
        return Kind.ERASED
    if finding.erased_offset is not None and finding.row.offset < finding.erased_offset:
        return Kind.RESTORED
    return Kind.MATCHED if finding.row.has_same_content else Kind.DIFFERENT


def _classify_unlisted(finding: Finding, offset: Offset) -> Kind:
    """Returns what a record is that has no row at its offset."""
    if finding.quarantined == "duplicate":
        return Kind.DUPLICATE
    if finding.quarantined not in (None, "applied"):  # a record that a replay has applied has a row
        return Kind.ERASED if finding.quarantined == "erased" else Kind.QUARANTINED
    if _was_erased_after(finding, offset):
        return Kind.ERASED
    if finding.row is None:
        return Kind.MISSING
    repeats = finding.row.offset < offset and finding.row.has_same_content
    return Kind.DUPLICATE if repeats else Kind.DIFFERENT


def _was_erased_after(finding: Finding, offset: Offset) -> bool:
    """Returns whether the account was erased after the record.

    Older releases did not store the offset of an erasure. Then everything without a row counts as erased.
    """
    if finding.erased_offset is not None:
        return offset < finding.erased_offset
    return finding.is_empty or bool(finding.erased_revision)


def _is_row_erased(finding: Finding) -> bool:
    """Returns whether the row is erased, and will be deleted."""
    assert finding.row is not None
    return finding.row.revision <= (finding.erased_revision or INITIAL_REVISION)


@dataclass(slots=True)
class _Hour:
    records: int = 0
    record_sum: Money = ZERO
    rows: int = 0
    row_sum: Money = ZERO
    counts: dict[Kind, int] = field(default_factory=dict)

    def add_record(self, transfer: Transfer | None) -> None:
        self.records += 1
        if transfer is not None:
            self.record_sum = self.record_sum.add(transfer.amount)

    def add_row(self, amount: Money | None) -> None:
        self.rows += 1
        self.row_sum = self.row_sum.add(amount or ZERO)

    def add(self, kind: Kind) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1


def count_hours(records: Sequence[TopicRecord], findings: Iterable[tuple[Finding, Kind]]) -> list[HourRow]:
    """Counts records and rows by the hour of Kafka's time. A record without a finding equals its row.

    A row that has no record counts in the hour of its own Kafka time.
    """
    kinds: Mapping[Offset | None, tuple[Finding, Kind]] = {
        finding.offset: (finding, kind) for finding, kind in findings
    }
    hours: dict[int, _Hour] = {}
    for record in records:
        hour = _hour(hours, record.at)
        hour.add_record(record.transfer)
        finding, kind = kinds.get(record.offset, (None, Kind.MATCHED))
        hour.add(kind)
        if finding is None:
            assert record.transfer is not None, "a record that equals a row is admissible"
            hour.add_row(record.transfer.amount)
        elif finding.row is not None and finding.row.offset == record.offset and kind is not Kind.ERASED:
            hour.add_row(finding.row.amount)
    for finding, kind in findings:
        if finding.offset is None and kind is Kind.EXTRA:
            assert finding.row is not None
            hour = _hour(hours, finding.row.recorded_at)
            hour.add(kind)
            hour.add_row(finding.row.amount)
    return [_row(Millis(number * _HOUR_MS), hour) for number, hour in sorted(hours.items())]


def _hour(hours: dict[int, _Hour], at: Millis) -> _Hour:
    return hours.setdefault(at // _HOUR_MS, _Hour())


def _row(start: Millis, hour: _Hour) -> HourRow:
    def count(kind: Kind) -> int:
        return hour.counts.get(kind, 0)

    return HourRow(
        start,
        hour.records,
        str(hour.record_sum),
        hour.rows,
        str(hour.row_sum),
        count(Kind.QUARANTINED),
        count(Kind.DUPLICATE),
        count(Kind.ERASED),
        count(Kind.MISSING),
        count(Kind.DIFFERENT),
        count(Kind.EXTRA),
        count(Kind.RESTORED),
    )
