"""What a record of the topic of transfers, or a row, counts as when Kafka is compared with SQL."""

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from livebalance.projector.fold.comparison import Kind, TopicRecord, classify, count_hours
from livebalance.readmodel.rows import Finding, HourRow, SqlTransfer
from livebalance.wire.identity import AccountId, Offset, Revision, TransferId
from livebalance.wire.kafka.record import Transfer
from livebalance.wire.money import ZERO, Money, parse_money
from livebalance.wire.timestamp import Millis

HOUR = Millis(3_600_000)
A, T = AccountId("a"), TransferId("t")


def row(offset: int, revision: int = 5, *, same: bool = True, at: int = 0) -> SqlTransfer:
    return SqlTransfer(Offset(offset), Money(100, 2), Millis(at), Revision(revision), same)


def finding(
    offset: int | None,
    stored: SqlTransfer | None = None,
    quarantined: str | None = None,
    erased: tuple[int, int | None] = (0, None),
    *,
    is_empty: bool = False,
) -> Finding:
    """Returns a finding. `erased`: revision of the account's last erasure, and the offset where it came."""
    revision, erased_offset = Revision(erased[0]), None if erased[1] is None else Offset(erased[1])
    at = None if offset is None else Offset(offset)
    return Finding(at, A, T, stored, quarantined, revision, erased_offset, is_empty)


def test_row_with_other_content_is_different_and_no_row_is_missing() -> None:
    assert classify(finding(7)) is Kind.MISSING
    assert classify(finding(7, row(7, same=False))) is Kind.DIFFERENT
    assert classify(finding(None, row(7, same=False))) is Kind.EXTRA


def test_record_of_an_earlier_transfer_is_a_duplicate_only_with_its_content() -> None:
    assert classify(finding(7, row(3))) is Kind.DUPLICATE
    assert classify(finding(7, row(3, same=False))) is Kind.DIFFERENT
    assert classify(finding(7, row(9))) is Kind.DIFFERENT
    assert classify(finding(7, None, "duplicate")) is Kind.DUPLICATE


def test_quarantined_record_needs_no_row_until_it_is_applied() -> None:
    for state in ("held", "skipped", "replay", "stale", "sent", "a word of the operator"):
        assert classify(finding(7, None, state)) is Kind.QUARANTINED
        assert classify(finding(7, row(3, same=False), state)) is Kind.QUARANTINED
    assert classify(finding(7, None, "erased")) is Kind.ERASED
    assert classify(finding(7, None, "applied")) is Kind.MISSING
    assert classify(finding(7, None, "applied", (4, 9))) is Kind.ERASED


def test_record_before_an_erasure_is_erased_and_must_have_no_row() -> None:
    assert classify(finding(7, None, None, (4, 8))) is Kind.ERASED
    assert classify(finding(8, None, None, (4, 8))) is Kind.MISSING
    assert classify(finding(7, row(7, 4), None, (4, 8))) is Kind.ERASED  # not deleted yet
    assert classify(finding(7, row(7, 5), None, (4, 8))) is Kind.RESTORED
    assert classify(finding(8, row(8, 5), None, (4, 8))) is Kind.MATCHED
    assert classify(finding(7, row(9, 5), None, (4, 8))) is Kind.ERASED  # the id was used again
    assert classify(finding(None, row(7, 4, same=False), None, (4, 8))) is Kind.ERASED


def test_erasure_of_an_older_release_explains_every_record_without_a_row() -> None:
    assert classify(finding(7, None, None, (4, None))) is Kind.ERASED
    assert classify(finding(7, is_empty=True)) is Kind.ERASED
    assert classify(finding(7, row(7, 5), None, (4, None))) is Kind.MATCHED


def test_record_of_an_account_that_does_not_exist_is_missing() -> None:
    unknown = Finding(Offset(7), A, T, None)
    assert classify(unknown) is Kind.MISSING
    assert classify(unknown._replace(account=None, transfer_id=None)) is Kind.MISSING


def test_only_four_kinds_are_differences() -> None:
    differences = {Kind.MISSING, Kind.DIFFERENT, Kind.EXTRA, Kind.RESTORED}
    assert {kind for kind in Kind if kind.is_difference} == differences


def record(offset: int, at: int, amount: Money | None) -> TopicRecord:
    transfer = None if amount is None else Transfer(T, A, amount, 0)
    return TopicRecord(Offset(offset), Millis(at), transfer)


def test_records_count_in_the_hour_of_kafka_and_other_rows_in_their_own() -> None:
    records = [record(1, HOUR - 1, Money(125, 2)), record(2, HOUR, Money(5, 1)), record(3, HOUR + 5, None)]
    extra = finding(None, row(9, at=2 * HOUR))
    held = finding(3, None, "held")
    hours = count_hours(records, [(item, classify(item)) for item in (extra, held)])
    empty = HourRow(Millis(0), 0, "0", 0, "0", 0, 0, 0, 0, 0, 0, 0)
    assert hours == [
        empty._replace(kafka_records=1, kafka_sum="1.25", sql_rows=1, sql_sum="1.25"),
        empty._replace(hour=HOUR, kafka_records=2, kafka_sum="0.5", sql_rows=1, sql_sum="0.5", quarantined=1),
        empty._replace(hour=Millis(2 * HOUR), sql_rows=1, sql_sum="1.00", extra=1),
    ]


def test_row_that_differs_counts_with_its_own_amount() -> None:
    different = finding(1, row(1, same=False))
    [hour] = count_hours([record(1, 0, Money(125, 2))], [(different, classify(different))])
    assert (hour.kafka_sum, hour.sql_rows, hour.sql_sum, hour.different) == ("1.25", 1, "1.00", 1)


def test_erased_row_without_a_record_counts_in_no_hour() -> None:
    erased = finding(None, row(9, 4), None, (4, 10))
    assert count_hours([], [(erased, classify(erased))]) == []


class Case(NamedTuple):
    """A record and its row, or either of them alone."""

    kind: Kind
    at: int
    amount: int


CASES = st.lists(
    st.builds(Case, st.sampled_from(Kind), st.integers(0, 3 * HOUR), st.integers(-(2**63), 2**63 - 1))
)


def case_finding(offset: int, case: Case) -> Finding:
    """Returns a finding that is of the case's kind."""
    same, other = row(offset), row(offset, same=False)._replace(amount=Money(1, 0))
    return {
        Kind.MATCHED: finding(offset, same),
        Kind.QUARANTINED: finding(offset, None, "held"),
        Kind.DUPLICATE: finding(offset, row(offset - 1)),
        Kind.ERASED: finding(offset, same, None, (9, offset + 1)),
        Kind.MISSING: finding(offset),
        Kind.DIFFERENT: finding(offset, other),
        Kind.EXTRA: finding(None, same._replace(recorded_at=Millis(case.at))),
        Kind.RESTORED: finding(offset, same, None, (1, offset + 1)),
    }[case.kind]


def total(amounts: Iterable[Money]) -> Money:
    return reduce(Money.add, amounts, ZERO)


@given(CASES)
def test_each_record_and_each_row_counts_once(cases: list[Case]) -> None:
    records = [
        record(offset, case.at, Money(case.amount, 2))
        for offset, case in enumerate(cases)
        if case.kind is not Kind.EXTRA
    ]
    findings = [
        (item, classify(item))
        for offset, case in enumerate(cases)
        if case.kind is not Kind.MATCHED
        for item in [case_finding(offset, case)]
    ]
    assert [kind for _, kind in findings] == [case.kind for case in cases if case.kind is not Kind.MATCHED]
    hours = count_hours(records, findings)
    assert len({hour.hour for hour in hours}) == len(hours)
    assert {hour.hour for hour in hours} == {case.at // HOUR * HOUR for case in cases}

    def counted(*kinds: Kind) -> int:
        return sum(case.kind in kinds for case in cases)

    assert sum(hour.kafka_records for hour in hours) == len(records)
    amounts = [item.transfer.amount for item in records if item.transfer is not None]
    assert total(parse_money(hour.kafka_sum) for hour in hours).same_value(total(amounts))
    without_row = (Kind.QUARANTINED, Kind.DUPLICATE, Kind.ERASED, Kind.MISSING)
    assert sum(hour.sql_rows for hour in hours) == len(cases) - counted(*without_row)
    for kind in set(Kind) - {Kind.MATCHED}:
        assert sum(getattr(hour, kind.value) for hour in hours) == counted(kind)
