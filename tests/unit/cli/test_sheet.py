"""Whatever stands in a file: each line is a transfer that may be applied, or is named with the reason."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livebalance.cli.produce.csv_transfers import MAX_LINE, CsvParser, HeaderError, Row, SkippedLine
from livebalance.wire.kafka.record import Transfer, rejection_reason
from livebalance.wire.money import Money
from livebalance.wire.timestamp import Millis, format_rfc3339
from tests.unit.wire import samples

NOW = Millis(1_795_540_800_123)
HEADER = b"id,account,amount,time\n"


def rows(text: bytes) -> list[Row]:
    sheet = CsvParser()
    return [*sheet.take(text, NOW), *sheet.end(NOW)]


def only(line: str) -> Row:
    [row] = rows(HEADER + line.encode())
    return row


def written(transfers: list[Transfer], columns: list[str]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, columns)
    table.writeheader()
    for one in transfers:
        fields = {"id": one.id, "account": one.account, "amount": one.amount, "time": one.time_ms}
        table.writerow({column: fields[column] for column in columns})
    return text.getvalue().encode()


@given(st.lists(samples.transfers), st.permutations(["id", "account", "amount", "time"]))
def test_what_was_written_down_is_read_whatever_the_order_of_columns(
    transfers: list[Transfer], columns: list[str]
) -> None:
    assert rows(written(transfers, columns)) == transfers


@given(samples.transfers, st.integers(0, 3))
def test_a_time_may_be_written_by_rfc_3339(transfer: Transfer, zone: int) -> None:
    time = format_rfc3339(Millis(transfer.time_ms)).replace("Z", ("Z", "z", "+00:00", "-00:00")[zone])
    assert only(f"{transfer.id},{transfer.account},{transfer.amount},{time}") == transfer


lines = st.binary(max_size=40) | st.text('abc.,"-+0123456789eEZT:\r ', max_size=40).map(str.encode)


@given(st.lists(lines))
def test_of_any_bytes_a_line_is_admissible_or_named(given_lines: list[bytes]) -> None:
    text = HEADER + b"\n".join(given_lines)
    found = rows(text)
    for row in found:
        if isinstance(row, Transfer):
            assert rejection_reason(row, row.account.encode()) is None
    named = [int(row.where.removeprefix("line ")) for row in found if isinstance(row, SkippedLine)]
    assert named == sorted(set(named))
    assert all(2 <= number <= text.count(b"\n") + 1 for number in named)


@given(st.lists(lines), st.lists(st.integers(0, 400)))
def test_it_does_not_matter_how_the_bytes_arrive(given_lines: list[bytes], cuts: list[int]) -> None:
    text = HEADER + b"\n".join(given_lines)
    sheet, found, at = CsvParser(), list[Row](), 0
    for cut in [*sorted(cuts), len(text)]:
        found += sheet.take(text[at:cut], NOW)
        at = max(at, cut)
    assert [*found, *sheet.end(NOW)] == rows(text)


@pytest.mark.parametrize(
    ("amount", "money"),
    [
        ("12.50", Money(1250, 2)),
        ("-12.5", Money(-125, 1)),
        ("0", Money(0, 0)),
        ("0.000", Money(0, 3)),
        (" 7 ", Money(7, 0)),
        ('"7.0"', Money(70, 1)),
        ("-9223372036854775808", Money(-(2**63), 0)),
    ],
)
def test_an_amount_is_what_is_written(amount: str, money: Money) -> None:
    assert only(f"t,a,{amount},") == Transfer("t", "a", money, NOW)  # type: ignore[arg-type]  # ids as text


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("t,a,1e3,", "the amount is not"),
        ("t,a,+1,", "the amount is not"),
        ("t,a,NaN,", "the amount is not"),
        ("t,a,-0.00,", "the amount is not"),
        ('t,a,"1,000.00",', "the amount is not"),
        ("t,a,1.0000000000000000001,", "scale is not 0..18"),
        ("t,a,9223372036854775808,", "amount leaves int64"),
        ("t,,1,", "bad account id"),
        (",a,1,", "bad transfer id"),
        ("t,ä,1,", "bad account id"),
        ("t,a,1,yesterday", "the time is neither"),
        ("t,a,1,2026-11-24", "the time is neither"),
        ("t,a,1,2026-11-24T17:20:00", "the time is neither"),
        ("t,a,1,2026-02-30T17:20:00Z", "the time is neither"),
        ("t,a,1,1.5", "the time is neither"),
        ("t,a,1,-1", "time is not within"),
        ("t,a,1,9999999999999999", "time is not within"),
        ("t,a,1", "4 fields are needed, here are 3"),
        ('t,a,1,"', "not one line of CSV"),
        (f"{'t' * MAX_LINE},a,1,", "longer than"),
    ],
)
def test_what_is_no_transfer_says_why(line: str, reason: str) -> None:
    row = only(line)
    assert isinstance(row, SkippedLine)
    assert (row.where, row.reason[: len(reason)]) == ("line 2", reason)


def test_lines_are_counted_as_an_editor_does() -> None:
    found = rows(b"\xef\xbb\xbf amount ,id,account\r\n\r\n1,t,a\r\n\n\xff\n1,u,\n")
    assert found[0] == Transfer("t", "a", Money(1, 0), NOW)  # type: ignore[arg-type]  # ids as text
    assert found[1:] == [SkippedLine("line 5", "not UTF-8"), SkippedLine("line 6", "bad account id")]


def test_a_line_without_end_is_not_kept() -> None:
    sheet = CsvParser()
    sheet.take(HEADER, NOW)
    for _ in range(100):
        sheet.take(b"x" * 10_000, NOW)
    assert len(sheet._rest) < 2 * MAX_LINE
    assert sheet.end(NOW) == [SkippedLine("line 2", f"longer than {MAX_LINE} bytes")]


@pytest.mark.parametrize(
    "text",
    [b"", b"\n\n", b"id,account", b"id,account,amount,note", b"id,id,account,amount", b"t,a,1\n", b"\xff\n"],
)
def test_without_its_header_a_sheet_says_nothing(text: bytes) -> None:
    with pytest.raises(HeaderError):
        rows(text)


def test_without_a_header_the_columns_are_told() -> None:
    sheet = CsvParser(("id", "account", "amount"), "transfer")
    assert sheet.take(b"t,a,1\nt,a\n", NOW)[1:] == [
        SkippedLine("transfer 2", "3 fields are needed, here are 2")
    ]
